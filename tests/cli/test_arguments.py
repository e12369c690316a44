"""Words as typed become words as Hydra understands them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhydra import registry
from benchhydra.errors import ConfigError
from benchhydra.overrides.grammar import needs_multirun, rewrite

registry.discover()

REWRITTEN = {
    "plain": (["qps=5", "model=tiny"], ["qps=5", "model=tiny"]),
    "engine-flag": (["engine.args.max_num_seqs=64"], ["++engine.args.max_num_seqs=64"]),
    "engine-flag-swept": (["-m", "engine.args.x=1,2"], ["-m", "++engine.args.x=1,2"]),
    "engine-flag-with-plus": (["+engine.args.x=1"], ["+engine.args.x=1"]),
    "engine-variable": (["engine.env.OMP_NUM_THREADS=2"], ["++engine.env.OMP_NUM_THREADS=2"]),
    "flag-taken-away": (["~engine.args.x"], ["~engine.args.x"]),
    "preset": (["experiment=decode"], ["+experiment=decode"]),
    "preset-with-plus": (["+experiment=decode"], ["+experiment=decode"]),
    "one-pair": (["nr_qps_pair='5,inf'"], ["num_prompts=5", "qps=inf"]),
    "one-pair-unquoted": (["nr_qps_pair=5,inf"], ["num_prompts=5", "qps=inf"]),
    "pairs": (
        ["nr_qps_pair='150,0.5','300,1'"],
        ["--multirun", "num_prompts=150,300", "qps=0.5,1", "sweep.zip=[[num_prompts,qps]]"],
    ),
    "dash-option-between": (["qps=1,2", "-m", "engine=fake"], ["-m", "qps=1,2", "engine=fake"]),
    "dash-option-last": (["qps=1", "--cfg", "job"], ["--cfg", "job", "qps=1"]),
    "dash-option-with-sign": (["qps=1", "--cfg=job"], ["--cfg=job", "qps=1"]),
    "dash-option-values": (
        ["qps=1", "-cd", "here", "seed=1", "-cn", "other", "-p", "load"],
        ["-cd", "here", "-cn", "other", "-p", "load", "qps=1", "seed=1"],
    ),
    "info": (["-i", "qps=1"], ["--info=all", "qps=1"]),
    "plan": (["qps=1,2", "sweep.plan=true"], ["--multirun", "qps=1,2", "sweep.plan=true"]),
    "search": (["search=repeats", "search.ci=a:2%"], ["--multirun", "search=repeats", "search.ci=a:2%"]),
    "no-search": (["search=grid"], ["search=grid"]),
    "repeats": (["repeats=3"], ["--multirun", "repeats=3"]),
    "one-repeat": (["repeats=1"], ["repeats=1"]),
    "list": (["sweep.zip=[[qps,seed]]", "-m"], ["-m", "sweep.zip=[[qps,seed]]"]),
    "text-with-commas": (["description='a, b'"], ["description='a, b'"]),
    "open-dictionaries": (
        ["+script.body.x=5", "+model.sparse.x=a/b"],
        ["+script.body.x=5", "+model.sparse.x=a/b"],
    ),
    "dictionary-as-a-whole": (
        ["script.body={n:4}", "engine.args={max_num_seqs:4}", "+engine.headers={api-key:KEY}", "model.sparse={a:b/c}"],
        [
            "++script.body={n:4}",
            "++engine.args={max_num_seqs:4}",
            "++engine.headers={api-key:KEY}",
            "++model.sparse={a:b/c}",
        ],
    ),
    "dictionaries-swept": (["-m", "script.body={n:1},{n:2}"], ["-m", "++script.body={n:1},{n:2}"]),
    "dictionary-of-a-flag": (["engine.args.a={b:{c:1}}"], ["++engine.args.a={b:{c:1}}"]),
    "dictionary-of-known-keys": (["slo={ttft_ms:200}"], ["slo={ttft_ms:200}"]),
    "header": (["engine.headers.api-key=KEY"], ["++engine.headers.api-key=KEY"]),
    "ipv6": (["engine.base_url=http://[::1]:8000/v1"], ["engine.base_url='http://[::1]:8000/v1'"]),
    "ipv6-zone": (["engine.base_url=https://[fe80::1%eth0]"], ["engine.base_url='https://[fe80::1%eth0]'"]),
    "ipv6-address": (["engine.env.HOST=[::1]:80"], ["++engine.env.HOST='[::1]:80'"]),
    "ipv6-swept": (
        ["-m", "engine.base_url=http://[::1]:80,http://h:80,http://[::2]:80"],
        ["-m", "engine.base_url='http://[::1]:80',http://h:80,'http://[::2]:80'"],
    ),
    "ipv6-quoted": (["engine.base_url='http://[::1]:8000'"], ["engine.base_url='http://[::1]:8000'"]),
    "list-of-pairs": (["engine.args.x=[a:b,c:d]"], ["++engine.args.x=[a:b,c:d]"]),
    "completion": (["-sc", "install=bash"], ["-sc", "install=bash"]),
    "rate-of-one-load-of-two": (
        ["-m", "load=poisson,concurrency", "qps=5"],
        ["-m", "load=poisson,concurrency", "qps=5"],
    ),
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_arguments_are_rewritten_for_hydra(name: str) -> None:
    words, expected = REWRITTEN[name]
    assert rewrite(words) == expected


@pytest.mark.parametrize("text", ["", "5", "5,1,3", "5,", "'5,1',,", ",1"])
def test_malformed_pairs_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="every pair is NUM_PROMPTS,QPS"):
        rewrite([f"nr_qps_pair={text}"])


@given(st.lists(st.tuples(st.integers(1, 9999), st.floats(0.1, 1e6)), min_size=2, max_size=9))
def test_pairs_become_two_zipped_axes(pairs: list[tuple[int, float]]) -> None:
    text = ",".join(f"'{count},{rate!r}'" for count, rate in pairs)
    by_key = dict(word.partition("=")[::2] for word in rewrite([f"nr_qps_pair={text}"]))
    counts, rates = by_key["num_prompts"].split(","), by_key["qps"].split(",")
    assert [(int(count), float(rate)) for count, rate in zip(counts, rates, strict=True)] == pairs


@given(st.permutations(["-m", "--cfg=job", "qps=1,2", "seed=3", "model=tiny"]))
def test_options_come_first_and_overrides_keep_their_order(words: list[str]) -> None:
    rewritten = rewrite(words)
    assert sorted(rewritten) == sorted(words)
    assert all(word.startswith("-") for word in rewritten[:2])
    assert rewritten[2:] == [word for word in words if not word.startswith("-")]


@pytest.mark.parametrize(
    ("word", "needed"),
    [("sweep.plan=true", True), ("sweep.plan=false", False), ("sweep.resume=auto", True), ("repeats=1", False)],
)
def test_some_overrides_need_a_sweep(word: str, needed: bool) -> None:
    assert needs_multirun([word]) is needed


@pytest.mark.parametrize("word", ["--config-dir", "-cn"])
def test_option_without_its_value(word: str) -> None:
    with pytest.raises(ConfigError, match="needs a value"):
        rewrite(["qps=1", word])
