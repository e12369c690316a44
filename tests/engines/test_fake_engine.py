"""The fake engine's configuration: what makes one of its servers another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from benchhydra.engines import ServerSpec
from benchhydra.engines.fake import COUNTS, FEATURES, FRACTIONS, SWITCHES, TIMES, Fake
from benchhydra.progress import Progress
from benchhydra.servers.pool import ServerPool
from benchhydra.target import WORD_TOKENIZER, Gpus, Model, Sparsity


def spec_of(engine: Fake, model: str = "org/model") -> ServerSpec:
    return engine.server(engine.target(Model(id=model), Sparsity(), Gpus()))


def test_any_model_name_is_accepted_and_a_word_is_a_token() -> None:
    model = Model(id="org/model", max_model_len=100, sparse={"s": "org/pruned"})
    target = Fake().target(model, Sparsity(name="s"), Gpus(device="cuda", count=8))
    assert (target.model, target.served_name, target.sparsity) == ("org/pruned", "org/pruned", "s")
    assert (target.tokenizer, target.max_model_len, target.gpus) == (WORD_TOKENIZER, 100, 0)


def test_equal_fields_are_one_server() -> None:
    assert spec_of(Fake(ttft_ms=7)) == spec_of(Fake(ttft_ms=7))
    assert spec_of(Fake()) != spec_of(Fake(), model="org/other")
    assert spec_of(Fake()) != spec_of(Fake(env={"A": "1"}))


@pytest.mark.parametrize("name", [*TIMES, *COUNTS, *FRACTIONS, *SWITCHES])
def test_every_field_reaches_the_server(name: str) -> None:
    value: Any = True if name in SWITCHES else 0.25 if name in TIMES + FRACTIONS else 3
    argv = spec_of(Fake(**{name: value})).argv
    place = argv.index(f"--{name.replace('_', '-')}")
    assert name in SWITCHES or argv[place + 1] == str(value)


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_that_is_switched_off_reaches_the_server(name: str) -> None:
    flag = f"--no-{name.replace('_', '-')}"
    off: dict[str, Any] = {name: False}
    assert flag in spec_of(Fake(**off)).argv
    assert flag not in spec_of(Fake()).argv


def test_engine_arguments_distinguish_servers_with_a_warning() -> None:
    with_args = Fake(args={"max_num_seqs": 64})
    assert spec_of(with_args) != spec_of(Fake())
    assert with_args.target(Model(id="m"), Sparsity(), Gpus()).warnings
    assert not Fake().target(Model(id="m"), Sparsity(), Gpus()).warnings


def test_the_offline_engine_takes_the_configured_time(tmp_path: Path) -> None:
    engine = Fake(ttft_ms=60, itl_ms=10)
    spec = engine.offline(engine.target(Model(id="m"), Sparsity(), Gpus()))
    assert (spec.kind, spec.argv[0]) == ("worker", sys.executable)
    pool = ServerPool(tmp_path)
    with pool.lease(spec, Progress(), headers={}, ready_timeout_s=60, stop_timeout_s=2) as lease:
        request = {"op": "generate", "prompts": ["a b", "c"], "output_tokens": [2, 5], "keep_text": True}
        answer = lease.call(request, timeout_s=60)
    pool.close()
    assert 100 <= (answer["end_ns"] - answer["start_ns"]) / 1e6 < 160  # 60 + 4 * 10
    assert (answer["prompt_tokens"], answer["output_tokens"]) == ([2, 1], [2, 5])
    assert [len(text.split()) for text in answer["texts"]] == [2, 5]
