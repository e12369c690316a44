"""Serialization of shards and their results: columns are sent as raw memory, without pickle."""

from __future__ import annotations

import dataclasses
import importlib
from array import array
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from benchhydra.client import Endpoint, Requests
from benchhydra.client.apis import Api
from benchhydra.errors import ConfigError
from benchhydra.loadgen.client_behaviour import ClientBehaviour
from benchhydra.loadgen.pacing import Pacing
from benchhydra.loadgen.pacing.closed_loop import ClosedLoop
from benchhydra.loadgen.pacing.schedule import Schedule
from benchhydra.loadgen.shards import Shard, ShardResult
from benchhydra.records import COUNTS, TIMES, Records

_COLUMNS: dict[str, Any] = dict.fromkeys((*TIMES, "gap_offsets"), np.int64) | dict.fromkeys(COUNTS, np.int32)
_SHARD_SETTINGS = ("stream", "full_length", "timeout_s", "keep_text")
_REQUEST_ARRAYS = {"starts": "q", "beginning": "i", "prompt_tokens": "i", "output_tokens": "i"}
_PACINGS: dict[str, type[Schedule] | type[ClosedLoop]] = {"schedule": Schedule, "closed_loop": ClosedLoop}


def pack_shard(shard: Shard) -> bytes:
    """Return a shard as bytes. They contain the endpoint's headers with the API key: never write them to a file."""
    assert isinstance(shard.requests, Requests)  # only a pacing that cannot be split has requests of another kind
    packed = {name: getattr(shard, name) for name in _SHARD_SETTINGS} | {
        "endpoint": _pack_endpoint(shard.endpoint),
        "pacing": _pack_pacing(shard.pacing),
        "requests": _pack_requests(shard.requests),
        "behaviour": dataclasses.asdict(shard.behaviour),
    }
    return msgspec.msgpack.encode(packed)


def unpack_shard(data: bytes) -> Shard:
    """Return the shard in the bytes of ``pack_shard``. Raises ConfigError if an API's module cannot be imported."""
    packed: dict[str, Any] = msgspec.msgpack.decode(data)
    return Shard(
        endpoint=_unpack_endpoint(packed["endpoint"]),
        pacing=_unpack_pacing(packed["pacing"]),
        requests=_unpack_requests(packed["requests"]),
        behaviour=ClientBehaviour.unpack(packed["behaviour"]),
        **{name: packed[name] for name in _SHARD_SETTINGS},
    )


def pack_result(result: ShardResult) -> bytes:
    """Return a result as bytes."""
    records = result.records
    packed = {
        "columns": {name: getattr(records, name).astype(kind).tobytes() for name, kind in _COLUMNS.items()},
        "labels": {name: values.astype(np.int32).tobytes() for name, values in records.labels.items()},
        "gaps_ns": records.gaps_ns.astype(np.float32).tobytes(),
        "errors": records.errors,
        "start_ns": result.start_ns,
        "stalls_ns": result.stalls_ns.tobytes(),
        "lags_ns": result.lags_ns.tobytes(),
        "interrupted": result.interrupted,
        "facts": result.facts,
        "texts": result.texts,
    }
    return msgspec.msgpack.encode(packed)


def unpack_result(data: bytes) -> ShardResult:
    """Return the result in the bytes of ``pack_result``."""
    packed: dict[str, Any] = msgspec.msgpack.decode(data)
    columns: dict[str, Any] = {name: np.frombuffer(packed["columns"][name], kind) for name, kind in _COLUMNS.items()}
    gaps = np.frombuffer(packed["gaps_ns"], np.float32)
    labels = {name: np.frombuffer(values, np.int32) for name, values in packed["labels"].items()}
    return ShardResult(
        records=Records(**columns, gaps_ns=gaps, errors=tuple(packed["errors"]), labels=labels),
        interrupted=packed["interrupted"],
        facts=packed["facts"],
        start_ns=packed["start_ns"],
        stalls_ns=array("f", packed["stalls_ns"]),
        lags_ns=array("f", packed["lags_ns"]),
        texts=tuple(packed["texts"]),
    )


def _pack_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    fields = {field.name: getattr(endpoint, field.name) for field in dataclasses.fields(endpoint)}
    return fields | {"api": _pack_api(endpoint.api)}


def _unpack_endpoint(fields: dict[str, Any]) -> Endpoint:
    names = {key: tuple(fields[key]) for key in ("replica_urls", "adapter_models")}
    return Endpoint(**fields | names | {"api": _unpack_api(**fields["api"])})


def _pack_api(api: Api) -> dict[str, Any]:
    """Return module, class name and settings of an API. The child imports the module, which may be a user's plugin."""
    kind = type(api)
    return {"module": kind.__module__, "name": kind.__qualname__, "settings": dataclasses.asdict(api)}


def _unpack_api(module: str, name: str, settings: dict[str, Any]) -> Api:
    """Return the API of ``_pack_api``. Raises ConfigError if this process cannot import its module."""
    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"a client process cannot import {module}: {error}",
            hint="put its folder on PYTHONPATH, on every machine that sends",
        ) from error
    api: Api = attrgetter(name)(imported)(**settings)
    return api


def _pack_pacing(pacing: Pacing) -> dict[str, Any]:
    kind = next(name for name, cls in _PACINGS.items() if type(pacing) is cls)
    send_times = pacing.send_times_s.astype(np.float64).tobytes()
    return {"kind": kind, "send_times_s": send_times, "max_in_flight": pacing.max_in_flight}


def _unpack_pacing(packed: dict[str, Any]) -> Pacing:
    send_times_s = np.frombuffer(packed["send_times_s"], np.float64)
    return _PACINGS[packed["kind"]](send_times_s, packed["max_in_flight"])


def _pack_requests(requests: Requests) -> dict[str, Any]:
    arrays = {name: getattr(requests, name).tobytes() for name in _REQUEST_ARRAYS}
    blocks = [bytes(block) for block in requests.blocks]
    labels = {name: values.tobytes() for name, values in requests.labels.items()}
    long = list(requests.long.items())
    return {"blocks": blocks, "long": long, "beginnings": requests.beginnings, "labels": labels, **arrays}


def _unpack_requests(packed: dict[str, Any]) -> Requests:
    requests = Requests(
        blocks=[bytearray(block) for block in packed["blocks"]],
        long=dict(packed["long"]),
        beginnings=[(before, after) for before, after in packed["beginnings"]],
        labels={name: array("i", values) for name, values in packed["labels"].items()},
    )
    for name, code in _REQUEST_ARRAYS.items():
        setattr(requests, name, array(code, packed[name]))
    return requests
