"""Several servers that share a load: how requests are dealt, what is started and stopped, and figures of each."""

from __future__ import annotations

import collections
import dataclasses
import re
import socket
import sys
import time
from array import array
from pathlib import Path
from typing import Any

import psutil
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from benchhydra import config, environment, registry
from benchhydra.config import BenchConfig, plain_config
from benchhydra.engines import ServerSpec, placeholders
from benchhydra.engines.attach import Attach
from benchhydra.engines.deployment import deployed as deployed_spec
from benchhydra.engines.fake import Fake
from benchhydra.engines.llamacpp import LlamaCpp
from benchhydra.engines.routers import router_of
from benchhydra.engines.sglang import SGLang
from benchhydra.errors import ConfigError, EngineError
from benchhydra.measure.replicas import dealt_replicas
from benchhydra.probes.server_metrics import Reading, combined
from benchhydra.progress import Progress
from benchhydra.records import Records
from benchhydra.result import Result
from benchhydra.run import run_point, spec_of
from benchhydra.series import read_series
from benchhydra.servers import gpus
from benchhydra.servers.pool import ServerPool
from benchhydra.servers.replicas import ReplicaServers
from benchhydra.target import Target

registry.discover()
config.register()
TARGET = Target(model="m", tokenizer="word", served_name="m")
WORDS = ("model=llama2", "qps=100", "num_prompts=60", "dataset.output_tokens=4", "tracking=none")
PROXY = Path(__file__).parents[1] / "round_robin_proxy.py"


def deployed(**fields: Any) -> ServerSpec:
    engine = Fake(ttft_ms=1.0, itl_ms=1.0, **fields)
    return deployed_spec(engine, engine.server(TARGET), TARGET)


def composed(*words: str) -> BenchConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(registry.CONF_DIR), version_base="1.3"):
        made: Any = OmegaConf.to_object(compose("config", overrides=[*WORDS, *words]))
    assert isinstance(made, BenchConfig)
    return made


def run(tmp_path: Path, *words: str) -> Result:
    made = composed(*words)
    pool = ServerPool(tmp_path / "servers")
    try:
        return run_point(made, resolved=plain_config(made), out_dir=tmp_path, pool=pool)
    finally:
        pool.close()


def test_requests_are_dealt_in_turn_or_by_session() -> None:
    sessions = {"session": array("i", [0, 0, 1, 1, 2, -1])}
    assert list(dealt_replicas({}, 5, 2, "round_robin")) == [0, 1, 0, 1, 0]
    assert list(dealt_replicas(sessions, 6, 2, "session")) == [0, 0, 1, 1, 0, 1]
    assert list(dealt_replicas(sessions, 6, 2, "round_robin")) == [0, 1, 0, 1, 0, 1]


def test_each_replica_has_flags_and_an_address_of_its_own() -> None:
    spec = deployed(replicas=3, args={"a": 1}, replica_args=[{"b": 1}, {"b": 2}])
    assert len(spec.replicas) == 3
    assert [" ".join(replica.argv).count("b=") for replica in spec.replicas] == [1, 1, 0]
    assert all("a=1" in replica.argv for replica in spec.replicas)
    env = deployed(replicas=2, env={"A": "0"}, replica_env=[{}, {"A": "1", "B": "2"}]).replicas
    assert [dict(replica.env) for replica in env] == [{"A": "0"}, {"A": "1", "B": "2"}]
    assert deployed(replicas=3) == deployed(replicas=3) != deployed(replicas=2)
    assert deployed().replicas == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"replicas": 0}, "at least 1"),
        ({"replicas": 1, "replica_args": [{}, {}]}, "2 items"),
        ({"replicas": 2, "replica_env": [{}, {}, {}]}, "replica_env has 3 items"),
        ({"replicas": 2, "deal": "by_luck"}, "deal"),
        ({"replicas": 2, "router": "no-such-router"}, "no-such-router"),
        ({"replicas": 2, "router_command": ["no-such-program", "{urls}"]}, "no-such-program is not a program"),
        ({"replicas": 2, "router": "nginx", "router_args": {"policy": "by_luck"}}, "by_luck"),
        ({"replicas": 2, "router": "nginx", "router_command": ["x"]}, "exclude each other"),
        ({"replicas": 2, "router": "vllm-router", "router_args": {"host": "0.0.0.0"}}, r"router_args\.host is set by"),
        ({"replicas": 2, "replica_args": [{"tensor-parallel-size": 2}]}, "same number of GPUs"),
    ],
)
def test_what_does_not_fit_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        deployed(**fields)


def test_the_offline_engine_and_an_attached_server_have_no_replicas() -> None:
    engine = Fake(replicas=2)
    with pytest.raises(ConfigError, match="only servers that benchhydra starts"):
        deployed_spec(engine, engine.offline(TARGET), TARGET)


def test_a_script_that_starts_servers_itself_has_no_replicas() -> None:
    with pytest.raises(ConfigError, match="script=startup starts servers itself"):
        spec_of(composed("script=startup", "engine=fake", "engine.replicas=2", "num_prompts=null", "qps=1"))


def test_three_servers_share_a_load_and_have_figures_of_their_own(tmp_path: Path) -> None:
    result = run(tmp_path, "engine=fake", "engine.ttft_ms=1", "engine.itl_ms=1", "engine.replicas=3")
    replica = Records.read(tmp_path / "records.parquet").labels["replica"]
    assert collections.Counter(replica.tolist()) == {0: 20, 1: 20, 2: 20}
    assert result.metrics["completed"].value == 60
    assert {name: figures["completed"].value for name, figures in result.groups["replica"].items()} == {
        "0": 20, "1": 20, "2": 20
    }  # fmt: skip
    last = {
        (series.name, series.labels.get("replica")): series.values[-1]
        for series in read_series(tmp_path / "series.parquet")
    }
    assert last["server.generation_tokens", None] == 60 * 4
    assert [last["server.replica_generation_tokens", str(number)] for number in range(3)] == [80, 80, 80]
    assert result.metadata["server_generation_tokens"] == 60 * 4
    log = (tmp_path / "server.log").read_text()
    assert log.count("fake server: ") == 3


def test_a_router_gets_the_load_and_the_servers_are_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def version(_: Fake, base_url: str) -> str:
        asked.append(base_url)
        return "1"

    monkeypatch.setattr(Fake, "version", version)
    command = f"engine.router_command=[{sys.executable},{PROXY},'{{host}}','{{port}}','{{urls}}']"
    result = run(tmp_path, "engine=fake", "engine.ttft_ms=1", "engine.itl_ms=1", "engine.replicas=2", command)
    assert result.metrics["completed"].value == 60
    assert "replica" not in Records.read(tmp_path / "records.parquet").labels  # the router decides
    series = read_series(tmp_path / "series.parquet")
    tokens = [s.values[-1] for s in series if s.name == "server.replica_generation_tokens"]
    assert sum(tokens) == 60 * 4
    assert min(tokens) > 0
    assert len(set(asked)) == 2  # the servers themselves: a router may not pass such requests on
    assert (result.engine_version, "mixed_versions" in result.metadata) == ("1", False)


def test_all_servers_are_stopped_if_one_cannot_start(tmp_path: Path) -> None:
    engine = Fake(start_s=30.0, replicas=2)
    good, bad = engine.server(TARGET), Fake(fail_start=True).server(TARGET)
    spec = ServerSpec(kind="http", argv=good.argv, replicas=(good, bad, good))
    pool = ServerPool(tmp_path)
    before = set(children())
    with pytest.raises(EngineError, match=r"not ready after 1 s|exited with code"):
        with pool.lease(spec, Progress(), ready_timeout_s=1.0, stop_timeout_s=1.0, headers={}):
            pass
    assert set(children()) == before


def test_a_server_that_ends_is_noticed_while_another_starts(tmp_path: Path) -> None:
    slow, bad = Fake(start_s=60.0).server(TARGET), Fake(fail_start=True).server(TARGET)
    spec = ServerSpec(kind="http", argv=slow.argv, replicas=(slow, bad))
    before, started_s = set(children()), time.monotonic()
    with pytest.raises(EngineError, match="exited with code"):
        with ServerPool(tmp_path).lease(spec, Progress(), ready_timeout_s=60.0, stop_timeout_s=1.0, headers={}):
            pass
    assert time.monotonic() - started_s < 30
    assert set(children()) == before


def children() -> list[int]:
    return [process.pid for process in psutil.Process().children(recursive=True)]


def test_each_replica_gets_gpus_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = [
        environment.Gpu(index=index, uuid=f"u{index}", name="card", memory_mib=1, used_mib=0, pids=())
        for index in range(4)
    ]
    monkeypatch.setattr(environment, "gpus", lambda: cards)
    monkeypatch.setattr(gpus, "lock_dir", lambda: tmp_path)
    one = ServerSpec(kind="http", argv=Fake().server(TARGET).argv, gpus=2)
    spec = ServerSpec(kind="http", argv=one.argv, gpus=2, replicas=(one, one))
    pool = ServerPool(tmp_path)
    try:
        with pool.lease(spec, Progress(), ready_timeout_s=60.0, stop_timeout_s=5.0, headers={}) as lease:
            assert lease.gpus == (0, 1, 2, 3)
            assert [visible_gpus(pid) for pid in lease.pids] == ["0,1", "2,3"]
    finally:
        pool.close()


def visible_gpus(pid: int) -> str:
    return psutil.Process(pid).environ()["CUDA_VISIBLE_DEVICES"]


def test_several_attached_servers_share_a_load(tmp_path: Path) -> None:
    pools = [ServerPool(tmp_path / str(number)) for number in range(2)]
    spec = Fake(ttft_ms=1.0, itl_ms=1.0).server(TARGET)
    try:
        options: dict[str, Any] = {"ready_timeout_s": 60.0, "stop_timeout_s": 5.0, "headers": {}}
        with pools[0].lease(spec, Progress(), **options) as a, pools[1].lease(spec, Progress(), **options) as b:
            urls = [a.base_url, b.base_url]
            words = ("engine=attach", f"engine.base_url=[{','.join(urls)}]", "model.tokenizer=word", "model.id=m")
            result = run(tmp_path / "run", *words)
    finally:
        for pool in pools:
            pool.close()
    assert {name: figures["completed"].value for name, figures in result.groups["replica"].items()} == {
        urls[0]: 30, urls[1]: 30
    }  # fmt: skip
    assert result.metadata["server_generation_tokens"] == 60 * 4


def test_flags_of_replicas_are_checked_before_anything_starts() -> None:
    engine = LlamaCpp(program=[sys.executable], slots=1, replicas=2, replica_args=[{"port": 1}])
    with pytest.raises(ConfigError, match="port is set by benchhydra"):
        deployed_spec(engine, engine.server(TARGET), TARGET)


def test_replicas_have_equally_many_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SGLang, "check", lambda self, target: None)  # it is not installed
    engine = SGLang(replicas=2, replica_args=[{"pp_size": 2}])
    target = dataclasses.replace(TARGET, gpus=1)
    with pytest.raises(ConfigError, match=r"sets a parallel size: .* same number of GPUs"):
        deployed_spec(engine, engine.server(target), target)
    engine.replica_args = [{"max_running_requests": 2}]
    assert [spec.gpus for spec in deployed_spec(engine, engine.server(target), target).replicas] == [1, 1]


@pytest.mark.parametrize("url", [[], [1], ["http://a/v1", "http://b/v2"], ["nonsense"], ["http://a", "http://a/"]])
def test_lists_of_urls_are_checked(url: Any) -> None:
    with pytest.raises(ConfigError, match=r"engine\.base_url"):
        Attach(base_url=url)


def test_readings_of_several_servers_are_one() -> None:
    a = Reading(
        "vllm", {"requests_running": 1.0, "kv_cache_usage_fraction": 0.2}, {("drafts", ""): 1.0}, {"ttft": (10.0, 2.0)}
    )
    b = Reading(
        "vllm", {"requests_running": 2.0, "kv_cache_usage_fraction": 0.4}, {("drafts", ""): 2.0}, {"ttft": (30.0, 1.0)}
    )
    both = combined([a, b])
    assert both.gauges == pytest.approx({"requests_running": 3.0, "kv_cache_usage_fraction": 0.3})
    assert both.counters == {("drafts", ""): 3.0}
    assert both.times == {"ttft": (40.0, 3.0)}
    assert not combined([a, Reading()])
    assert combined([a]) == a


#: A router's program that prints flags for --help.
ROUTER_HELP = """#!/bin/sh
echo "  --policy POLICY"
echo "  --prometheus-port PORT"
echo "  --prometheus-host HOST"
echo "  --worker-urls [URLS ...]"
echo "  --disable-retries     no retries"
"""


@pytest.fixture
def routers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vllm-router", "sglang-router", "nginx"):
        path = tmp_path / name
        path.write_text(ROUTER_HELP)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.usefixtures("routers")
def test_known_routers_get_the_urls_and_the_address() -> None:
    for name in ("vllm-router", "sglang-router"):
        words = router_of(name, {"policy": "cache_aware", "disable_retries": False}).words
        assert Path(words[0]).name == name
        assert words[-4:] == ("--host", "{host}", "--port", "{port}")
        assert "{urls}" in words
        assert "--disable-retries" not in words
        assert words[words.index("--policy") + 1] == "cache_aware"
        assert words[words.index("--prometheus-host") + 1] == "127.0.0.1"  # sglang-router's own default is 0.0.0.0
        assert words[words.index("--prometheus-port") + 1] == "{free_port}"  # two may run on one machine
    nginx = router_of("nginx", {"policy": "least_conn"})
    config = nginx.config
    assert nginx.ready_path == ""  # that of the servers behind it
    assert not re.search(r'(?<!")\{config\}', config)  # quoted: the path may have a space
    assert "least_conn;" in config
    assert "proxy_buffering off" in config


@pytest.mark.usefixtures("routers")
def test_flags_of_a_router_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"router_args\.polcy: vllm-router has no such flag"):
        router_of("vllm-router", {"polcy": "random"})
    with pytest.raises(ConfigError, match=r"router_args\.policy=false: vllm-router has no --no-policy"):
        router_of("vllm-router", {"policy": False})


def test_a_router_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match=r"engine\.router: vllm-router is not a program"):
        router_of("vllm-router", {})


def test_free_ports_differ() -> None:
    spec = ServerSpec(kind="http", argv=("x", "{port}", "{free_port}", "--a={free_port}"), places_address=True)
    _, port, first, second = spec.command("127.0.0.1", 8123)
    assert port == "8123"
    assert len({int(first), int(second.removeprefix("--a=")), 8123}) == 3


def test_a_free_port_is_not_the_servers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    given = iter((8123, 8124))

    class Listener(socket.socket):
        def getsockname(self) -> tuple[str, int]:
            return "127.0.0.1", next(given)

    monkeypatch.setattr("benchhydra.engines.placeholders.socket.socket", Listener)
    assert placeholders.fill_free_ports(["{free_port}"], without=8123) == ["8124"]


def test_a_router_is_started_again_between_points_and_its_servers_are_not(tmp_path: Path) -> None:
    command = [sys.executable, str(PROXY), "{host}", "{port}", "{urls}"]
    spec = deployed(replicas=2, router_command=command)
    pool = ServerPool(tmp_path)
    leases = []
    try:
        for _ in range(2):
            with pool.lease(spec, Progress(), ready_timeout_s=20.0, stop_timeout_s=5.0, headers={}) as lease:
                leases.append(lease)
    finally:
        pool.close()
    first, second = leases
    assert first.pids[1:] == second.pids[1:]
    assert first.pids[0] != second.pids[0]
    assert first.replica_urls == second.replica_urls
    assert second.base_url not in (first.base_url, *first.replica_urls)
    assert (first.fresh, second.fresh, second.cache_reset) == (True, False, True)


def test_a_router_whose_stop_is_interrupted_is_stopped_in_the_end(tmp_path: Path) -> None:
    stops: list[str] = []

    class Stand:
        base_url, log = "http://127.0.0.1:1", tmp_path

        def __init__(self, name: str) -> None:
            self.name = name

        def wait_ready(self, *_: object) -> None: ...

        def terminate(self) -> None: ...

        def stop(self) -> None:
            stops.append(self.name)
            if stops == ["router"]:
                raise KeyboardInterrupt

    def launch(_: ServerSpec, number: int, __: Path) -> Any:
        return Stand("router" if number < 0 else "server")

    servers = ReplicaServers(deployed(router_command=["env", "{urls}"]), [tmp_path / "a", tmp_path / "b"], launch)
    servers.wait_ready(Progress())
    with pytest.raises(KeyboardInterrupt):
        servers.restart_router(Progress())
    servers.stop()
    assert stops == ["router", "router", "server"]


def test_a_router_that_does_not_start_again_makes_the_servers_start_again(tmp_path: Path) -> None:
    router = tmp_path / "once"
    router.write_text(
        f'#!/bin/sh\n[ -e {tmp_path}/ran ] && exit 3\ntouch {tmp_path}/ran\nexec {sys.executable} {PROXY} "$@"\n'
    )
    router.chmod(0o755)
    spec = deployed(replicas=1, router_command=[str(router), "{host}", "{port}", "{urls}"])
    pool = ServerPool(tmp_path)
    pids = []
    try:
        options: dict[str, Any] = {"ready_timeout_s": 20.0, "stop_timeout_s": 5.0, "headers": {}}
        with pool.lease(spec, Progress(), **options) as lease:
            pids.append(lease.pids[1])
        with pytest.raises(EngineError, match="exited with code 3"):
            with pool.lease(spec, Progress(), **options):
                pass
        (tmp_path / "ran").unlink()
        with pool.lease(spec, Progress(), **options) as lease:
            pids.append(lease.pids[1])
    finally:
        pool.close()
    assert pids[0] != pids[1]
