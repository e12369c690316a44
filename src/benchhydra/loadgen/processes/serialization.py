"""Shares and what came of them as bytes: columns go between processes as they lie in memory, unpickled."""

from __future__ import annotations

import dataclasses
from array import array
from typing import Any

import msgspec
import numpy as np

from benchhydra.client import Endpoint, Requests
from benchhydra.loadgen.shards import Shard, ShardResult
from benchhydra.records import COUNTS, TIMES, Records

_COLUMNS: dict[str, Any] = dict.fromkeys((*TIMES, "gap_offsets"), np.int64) | dict.fromkeys(COUNTS, np.int32)
_PLAIN = ("max_in_flight", "closed_loop", "timeout_s", "ignore_eos", "keep_text")
_ARRAYS = {"starts": "q", "beginning": "i", "prompt_tokens": "i", "output_tokens": "i"}


def pack_shard(share: Shard) -> bytes:
    """A share as bytes. It holds the endpoint's headers: it goes through pipes, never into files."""
    requests = share.requests
    arrays = {name: getattr(requests, name).tobytes() for name in _ARRAYS}
    packed = {name: getattr(share, name) for name in _PLAIN} | {
        "endpoint": dataclasses.asdict(share.endpoint),
        "offsets_s": share.offsets_s.astype(np.float64).tobytes(),
        "requests": {
            "blocks": [bytes(block) for block in requests.blocks],
            "beginnings": requests.beginnings,
            **arrays,
        },
    }
    return msgspec.msgpack.encode(packed)


def unpack_shard(data: bytes) -> Shard:
    """What ``pack_shard`` packed."""
    packed: dict[str, Any] = msgspec.msgpack.decode(data)
    raw = packed["requests"]
    requests = Requests(
        blocks=[bytearray(block) for block in raw["blocks"]],
        beginnings=[(before, after) for before, after in raw["beginnings"]],
    )
    for name, code in _ARRAYS.items():
        setattr(requests, name, array(code, raw[name]))
    return Shard(
        endpoint=Endpoint(**packed["endpoint"]),
        requests=requests,
        offsets_s=np.frombuffer(packed["offsets_s"], np.float64),
        **{name: packed[name] for name in _PLAIN},
    )


def pack_result(sent: ShardResult) -> bytes:
    """Rows and what goes with them, as bytes."""
    records = sent.records
    packed = {
        "columns": {name: getattr(records, name).astype(kind).tobytes() for name, kind in _COLUMNS.items()},
        "gaps_ns": records.gaps_ns.astype(np.float32).tobytes(),
        "errors": records.errors,
        "stalls_ns": sent.stalls_ns.tobytes(),
        "lags_ns": sent.lags_ns.tobytes(),
        "interrupted": sent.interrupted,
        "cpu_share": sent.cpu_share,
        "awake_s": sent.awake_s,
        "texts": sent.texts,
    }
    return msgspec.msgpack.encode(packed)


def unpack_result(data: bytes) -> ShardResult:
    """What ``pack_result`` packed."""
    packed: dict[str, Any] = msgspec.msgpack.decode(data)
    columns: dict[str, Any] = {name: np.frombuffer(packed["columns"][name], kind) for name, kind in _COLUMNS.items()}
    gaps = np.frombuffer(packed["gaps_ns"], np.float32)
    return ShardResult(
        records=Records(**columns, gaps_ns=gaps, errors=tuple(packed["errors"])),
        interrupted=packed["interrupted"],
        cpu_share=packed["cpu_share"],
        awake_s=packed["awake_s"],
        stalls_ns=array("f", packed["stalls_ns"]),
        lags_ns=array("f", packed["lags_ns"]),
        texts=tuple(packed["texts"]),
    )
