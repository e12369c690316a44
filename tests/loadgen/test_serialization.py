"""Shards and results come out of their bytes as they went in."""

from __future__ import annotations

import dataclasses
from array import array

import numpy as np
import pytest
from tests.loadgen.conftest import ImportPlugin
from tests.loadgen.loads import endpoint_of, plan_of

from benchhydra.client.apis import Api, RequestOptions
from benchhydra.client.apis.chat import Chat
from benchhydra.client.apis.completions import Completions
from benchhydra.client.request_store import LONG_BYTES
from benchhydra.datasets import Prompt
from benchhydra.errors import ConfigError
from benchhydra.loadgen.processes.frames import PROGRESS, STOP, frame, progress_frame, take_frames
from benchhydra.loadgen.processes.serialization import pack_result, pack_shard, unpack_result, unpack_shard
from benchhydra.loadgen.shards import Shard, ShardProgress, ShardResult, split_into_shards
from benchhydra.records import TIMES, Records


def shards(api: Api, parts: int = 3, closed_loop: bool = False) -> list[Shard]:
    times = np.zeros(10) if closed_loop else np.arange(10) * 0.1
    prompts = [Prompt(f"prompt {i}" * (1 if i % 4 else LONG_BYTES), i, 2 * i) for i in range(10)]
    endpoint = endpoint_of(1, api, headers={"Authorization": "Bearer k"}, ca_file="ca.pem", verify_tls=False)
    limit = 4 if closed_loop else None
    options = RequestOptions(stream=False, ignore_eos=False)
    return split_into_shards(
        plan_of(endpoint, prompts, options=options, send_times_s=times, max_in_flight=limit, timeout_s=7.0), parts
    )


@pytest.mark.parametrize("closed_loop", [False, True])
@pytest.mark.parametrize("api", [Completions(), Chat()], ids=["completions", "chat"])
def test_a_shard_is_the_same_after_packing(api: Api, closed_loop: bool) -> None:
    for shard in shards(api, closed_loop=closed_loop):
        there = unpack_shard(pack_shard(shard))
        for name in ("endpoint", "stream", "full_length", "timeout_s", "keep_text"):
            assert getattr(there, name) == getattr(shard, name), name
        assert type(there.pacing) is type(shard.pacing)
        assert there.pacing.max_in_flight == shard.pacing.max_in_flight
        assert there.pacing.send_times_s.tolist() == shard.pacing.send_times_s.tolist()
        count = len(shard.requests)
        assert there.requests.prompt_tokens == shard.requests.prompt_tokens
        assert [there.requests.take(i) for i in range(count)] == [shard.requests.take(i) for i in range(count)]


def test_an_api_of_a_users_own(import_plugin: ImportPlugin) -> None:
    api = import_plugin("tokenize").Tokenize()
    there = unpack_shard(pack_shard(shards(api)[0])).endpoint.api
    assert there == api and type(there) is type(api)


def test_settings_of_an_api_travel_with_it() -> None:
    there = unpack_shard(pack_shard(shards(Configured(dimensions=7))[0])).endpoint.api
    assert there == Configured(dimensions=7)


def test_an_api_that_a_client_process_cannot_import_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Configured, "__module__", "no_such_plugin")
    packed = pack_shard(shards(Configured())[0])
    with pytest.raises(ConfigError, match="a client process cannot import no_such_plugin"):
        unpack_shard(packed)


@dataclasses.dataclass(kw_only=True)
class Configured(Completions):
    """An API with a setting."""

    dimensions: int = 3


def test_a_result_is_the_same_after_packing() -> None:
    result = ShardResult(
        records=Records.of_spans([1, 2], [3, 4], output_tokens=[5, 6]),
        interrupted=True,
        facts={"client_cpu_fraction": 0.25},
        start_ns=7,
        stalls_ns=array("f", [1.0]),
        lags_ns=array("f", [2.0, 3.0]),
        texts=("a", "é"),
    )
    there = unpack_result(pack_result(result))
    for name in ("interrupted", "facts", "start_ns", "stalls_ns", "lags_ns", "texts"):
        assert getattr(there, name) == getattr(result, name), name
    for name in (*TIMES, "output_tokens", "status"):
        assert np.array_equal(getattr(there.records, name), getattr(result.records, name)), name


def test_only_complete_frames_are_taken() -> None:
    progress = ShardProgress(done=3, failed=1, ttft_sum_ns=5, ttft_count=2)
    written = progress_frame(progress) + frame(STOP)
    received, kinds = bytearray(), []
    for byte in written:
        received.append(byte)
        kinds += [kind for kind, _ in take_frames(received)]
    assert kinds == [PROGRESS, STOP] and not received
