"""``run_point`` on the fake engine, in this process: what a point leaves, whatever happens to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from benchhydra import config, registry
from benchhydra.config import BenchConfig, plain_config
from benchhydra.errors import BenchhydraError, ConfigError, EngineError, RunInvalid
from benchhydra.records import Records
from benchhydra.result import Result, Verdict
from benchhydra.run import refuse_verdict, run_point, spec_of
from benchhydra.scripts import Measurement
from benchhydra.series import read_series
from benchhydra.servers.pool import ServerPool

registry.discover()
config.register()
QUICK = ["model=llama2", "engine=fake", "engine.ttft_ms=2", "engine.itl_ms=1", "tracking=none", "qps=50"]
QUICK += ["dataset.prompt_tokens=16", "dataset.output_tokens=4", "num_prompts=12", "script.warmup_requests=2"]


def composed(*overrides: str) -> BenchConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(registry.CONF_DIR), version_base="1.3"):
        made: Any = OmegaConf.to_object(compose("config", overrides=[*QUICK, *overrides]))
    assert isinstance(made, BenchConfig)
    return made


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[ServerPool]:
    made = ServerPool(tmp_path / "servers")
    yield made
    made.close()


def run(made: BenchConfig, out_dir: Path, pool: ServerPool) -> Result:
    return run_point(
        made, resolved=plain_config(made), out_dir=out_dir, pool=pool, overrides=("qps=50",), sweep_id="s1"
    )


def test_a_point_writes_its_files_and_metadata(tmp_path: Path, pool: ServerPool) -> None:
    made = composed("description=a first look")
    result = run(made, tmp_path / "point", pool)
    files = {path.name for path in (tmp_path / "point").iterdir()}
    assert files == {"result.json", "records.parquet", "series.parquet", "config.yaml", "server.log"}
    back = Result.read(tmp_path / "point")
    assert back.status == "ok" and back.metrics == result.metrics
    assert back.description == "a first look" and back.sweep_id == "s1" and len(back.run_id) == 32
    assert back.metadata["num_prompts"] == back.metadata["completed"] == 12
    assert back.metadata["command"] == "benchhydra qps=50"
    assert back.environment["packages"]["python"]
    assert len(Records.read(tmp_path / "point" / "records.parquet")) == 12
    series = {one.name: one for one in read_series(tmp_path / "point" / "series.parquet")}
    assert series["client.sent_rps"].values.sum() == 12 and series["client.sent_rps"].unit == "requests/s"
    assert "client.wait_fraction" in series  # of a probe
    assert back.key_metrics == made.script.key_metrics and back.charts and back.load_label == "qps=50"
    assert back.metadata["client_processes"] == 1 and back.metadata["warmup_requests"] == 2
    assert 0 <= back.metadata["client_cpu_fraction"] <= 1
    assert "fake server" in (tmp_path / "point" / "server.log").read_text()


def test_points_of_one_server_share_it(tmp_path: Path, pool: ServerPool) -> None:
    for k, qps in enumerate((50, 100)):
        made = composed(f"qps={qps}")
        assert spec_of(made) == spec_of(composed())
        assert run(made, tmp_path / str(k), pool).metadata["server_started"] is (k == 0)
    assert pool.starts == 1


def test_a_warm_server_is_warmed_up_again_only_for_a_new_kind_of_load(tmp_path: Path, pool: ServerPool) -> None:
    sent = [
        run(composed(*words), tmp_path / str(k), pool).metadata["warmup_requests"]
        for k, words in enumerate(
            [
                ("script.warmup_requests=null",),
                ("script.warmup_requests=null", "qps=100"),
                ("script.warmup_requests=2",),
                ("script.warmup_requests=null", "qps=75"),
                ("script.warmup_requests=null", "dataset.prompt_tokens=32"),
                ("script.warmup_requests=null", "api=chat"),
                ("script.warmup_requests=null", "load.max_in_flight=10"),
                ("script.warmup_requests=null", "load.max_in_flight=9"),
            ]
        )
    ]
    assert pool.starts == 1
    assert sent == [8, 0, 2, 0, 8, 8, 10, 0]


def test_a_point_that_fails_says_so_in_its_result(tmp_path: Path, pool: ServerPool) -> None:
    with pytest.raises(EngineError, match="failing to start"):
        run(composed("engine.fail_start=true"), tmp_path / "point", pool)
    result = Result.read(tmp_path / "point")
    assert (result.status, result.verdict) == ("failed", Verdict.INVALID)
    assert "failing to start" in (result.error or "") and "failing to start" in (result.log_tail or "")
    assert result.metrics == {}


def test_failed_requests_are_counted_and_the_verdict_refuses_them(tmp_path: Path, pool: ServerPool) -> None:
    made = composed("engine.http_5xx_fraction=0.5", "num_prompts=40", "qps=inf")
    result = run(made, tmp_path / "point", pool)
    assert 0 < result.failures["http_5xx"] < 40
    assert result.metrics["failed"].value == result.failures["http_5xx"]
    assert result.verdict is Verdict.INVALID
    with pytest.raises(RunInvalid, match="INVALID"):
        refuse_verdict(result, made)
    refuse_verdict(result, composed("script.fail_on=never"))


def test_texts_are_kept_on_request(tmp_path: Path, pool: ServerPool) -> None:
    run(composed("script.keep_text=true", "api=chat"), tmp_path / "point", pool)
    lines = [json.loads(line) for line in (tmp_path / "point" / "texts.jsonl").read_text().splitlines()]
    assert len(lines) == 12 and all(line["prompt"] and line["generated"].split() for line in lines)


def test_the_offline_engine_has_the_same_result(tmp_path: Path, pool: ServerPool) -> None:
    result = run(composed("script=throughput"), tmp_path / "point", pool)
    assert result.metadata["completed"] == 12 and result.metrics["mean_output_tokens"].value == 4
    assert {"request_throughput", "output_throughput", "total_token_throughput"} <= set(result.metrics)
    assert "mean_ttft_ms" not in result.metrics


def test_slo_limits_give_goodput(tmp_path: Path, pool: ServerPool) -> None:
    result = run(composed("slo.ttft_ms=1000", "slo.e2el_ms=0.0001"), tmp_path / "point", pool)
    assert result.metrics["slo_attainment"].value == 0
    assert result.metrics["request_goodput"].value == 0 and result.metrics["request_goodput"].unit == "requests/s"


@pytest.mark.parametrize("limit", ["slo.ttft_ms=0", "slo.e2el_ms=-3", "slo.tpot_ms=inf"])
def test_an_slo_limit_must_be_positive_and_finite(limit: str) -> None:
    with pytest.raises(ConfigError, match=rf"{limit.partition('=')[0]}=.* must be above 0"):
        composed(limit)


def test_a_measurement_without_any_metric_is_an_error(
    tmp_path: Path, pool: ServerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = composed()
    measured = Measurement(records=Records.of_spans([0], [1]), has=frozenset({"smell"}))
    monkeypatch.setattr(type(made.script), "measure", lambda *arguments: measured)
    with pytest.raises(BenchhydraError, match="its capabilities are smell"):
        run(made, tmp_path / "point", pool)
    assert Result.read(tmp_path / "point").status == "failed"


def test_an_interruption_is_a_result_too(tmp_path: Path, pool: ServerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    made = composed()

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(made.script), "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(made, tmp_path / "point", pool)
    assert Result.read(tmp_path / "point").status == "interrupted"


@pytest.mark.parametrize("engine", ["fake", "vllm"])
@pytest.mark.parametrize("key", ["env.HF_TOKEN", "env.VLLM_API_KEY", "env.DB_PASSWORD", "args.api_key"])
def test_a_secret_is_refused_before_anything_is_written(engine: str, key: str) -> None:
    made = composed()
    made.engine = registry.options("engine")[engine]()
    kind, _, name = key.partition(".")
    getattr(made.engine, kind)[name] = "hunter2"
    with pytest.raises(ConfigError, match=f"engine.{key} holds a secret") as refused:
        spec_of(made)
    assert "hunter2" not in str(refused.value)


def test_an_engine_whose_caches_stay_full_after_the_warm_up_is_suspected(
    tmp_path: Path, pool: ServerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = composed("script=throughput")
    monkeypatch.setattr("benchhydra.servers.Lease.reset", lambda lease: False)
    result = run(made, tmp_path / "point", pool)
    assert "cache_reset" in {reason.check for reason in result.reasons}
