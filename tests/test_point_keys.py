"""Points keep their keys, and with them their history, whatever their config keys are called today.

The expected keys were computed by version 0.1.0, before ``api`` and ``slo`` moved to the root.
"""

from __future__ import annotations

from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from benchhydra import config, registry
from benchhydra.points import point_identity
from benchhydra.result import point_key

registry.discover()
config.register()

KEYS: dict[str, tuple[str, ...]] = {
    "b172789c08ed36a4": (),
    "89c2f8d7ae82e9c0": ("api=chat", "slo.ttft_ms=200", "slo.tpot_ms=50", "qps=4"),
    "26811479e9110546": ("slo.e2el_ms=1500.5",),
    "367f1fd804461c2d": ("script=throughput", "num_prompts=16"),
    "8f36e32995020194": ("load=concurrency", "load.max_in_flight=8"),
    "857732eb260d895e": ("load=trace", "dataset=jsonl", "dataset.path=prompts.jsonl", "num_prompts=20"),
    "22caec5f8a8fe6f3": ("engine=attach", "engine.base_url=http://127.0.0.1:8000", "api=chat"),
    "87b6467f88960e92": (
        *("script.stream=false", "+script.body.top_p=0.9", "script.temperature=0.7", "script.ignore_eos=false"),
    ),
    "58146a9419e98574": ("load=burst", "load.size=5", "qps=20", "num_prompts=100"),
    "812c4effe44342c4": ("load=ramp", "load.start_qps=1", "qps=50"),
    "43abda3cb59c832a": (
        *("engine=fake", "engine.http_5xx_fraction=0.5", "engine.ttft_ms=2", "qps=inf", "num_prompts=40"),
    ),
    "28e4f9e711736063": ("+experiment=serving_dense", "model=llama2", "num_prompts=750", "qps=2.5"),
    "baa012289094cad1": ("+experiment=decode", "model=openhermes_gptq", "num_prompts=8"),
    "6fc9418c06062023": (
        *("model=opt_350m", "gpus=tp2", "+engine.args.max_num_seqs=64", "script.warmup_requests=4", "repeat=3"),
        *("seed=7", "validity.failed_fraction=0.2", "script.keep_text=true", "load.processes=2"),
        *("probes.interval_s=1", "probes.off=[gpu]", "probes.gpus=[1]"),
        *("gpus.price_per_hour=2.5", "+gpus.prices.H100=2"),
    ),
}


def plain(overrides: tuple[str, ...]) -> dict[str, Any]:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(registry.CONF_DIR), version_base="1.3"):
        made: Any = OmegaConf.to_object(compose("config", overrides=list(overrides)))
    return config.plain_config(made)


@pytest.mark.parametrize(("key", "overrides"), KEYS.items(), ids=lambda value: " ".join(value)[:60])
def test_point_keys_are_those_of_version_0_1(key: str, overrides: tuple[str, ...]) -> None:
    assert point_key(plain(overrides)) == key


def test_the_config_of_an_old_result_has_the_key_of_the_new_one() -> None:
    new = plain(KEYS["89c2f8d7ae82e9c0"])
    old = {key: value for key, value in new.items() if key not in ("api", "slo", "probes")}
    old["script"] = {**new["script"], "api": "chat", "slo": {"ttft_ms": 200.0, "tpot_ms": 50.0}}
    assert point_key(old) == "89c2f8d7ae82e9c0"


def test_percentiles_and_the_number_of_gpus_are_no_part_of_a_key() -> None:
    assert point_key(plain(("percentiles=[25,99.9]",))) == point_key(plain(()))
    attached = KEYS["22caec5f8a8fe6f3"]
    assert point_key(plain((*attached, "engine.gpus=8"))) == "22caec5f8a8fe6f3"


def test_another_measurement_has_another_key() -> None:
    keys = {point_key(plain(words)) for words in ((), ("api=chat",), ("slo.ttft_ms=5",), ("slo.ttft_ms=6",))}
    assert len(keys) == 4


def test_other_scripts_are_identified_by_api_and_limits_only_where_they_are_set() -> None:
    offline = ("script=throughput", "num_prompts=16")
    keys = {point_key(plain((*offline, *words))) for words in ((), ("api=completions",), ("slo.e2el_ms=null",))}
    assert keys == {"367f1fd804461c2d"}
    assert point_key(plain((*offline, "api=chat"))) not in keys
    assert point_key(plain((*offline, "slo.e2el_ms=5"))) not in keys


def test_lengths_and_columns_are_part_of_a_key_only_if_they_are_set() -> None:
    base = ("dataset=jsonl", "dataset.path=prompts.jsonl", "api=chat")
    variants = [
        ("dataset.lengths=templated",),
        ("+dataset.columns.prompt=question",),
        ("+dataset.columns.prompt=text",),
        ("dataset.time_unit=ms",),
    ]
    keys = [point_key(plain((*base, *more))) for more in ((), *variants)]
    assert len(set(keys)) == len(keys)
    assert keys[0] == point_key(plain((*base, "dataset.lengths=prompt", "dataset.time_unit=auto")))


def test_how_a_server_is_reached_is_no_part_of_the_key_but_may_be_swept() -> None:
    attach = ("engine=attach", "engine.base_url=http://127.0.0.1:8000", "api=chat")
    ways = [(), ("engine.path=/v3",), ("++engine.headers.x-route=BLUE",), ("++engine.headers.x-route=GREEN",)]
    identities = {point_identity(plain((*attach, *words))) for words in ways}
    assert len(identities) == 4
    assert {identity.point_key for identity in identities} == {"22caec5f8a8fe6f3"}


def test_another_limit_of_tokens_is_another_point() -> None:
    keys = {point_key(plain((f"api.token_limit={name}",))) for name in ("max_tokens", "max_completion_tokens", "none")}
    assert len(keys) == 3 and "b172789c08ed36a4" in keys
