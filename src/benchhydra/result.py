"""``result.json``: the truth of one point. MLflow, tables, reports and comparisons are projections of it.

A superset of nm-vllm's BenchmarkResult; its JSON Schema is ``schema/result-1.0.0.json`` in this package, and every
file is checked against it before it is written. Unknown is absent; there is no NaN and no Infinity.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from benchhydra.errors import ResultError
from benchhydra.metrics import Better, MetricValue
from benchhydra.validity import Reason, Verdict

SCHEMA_VERSION = "1.0.0"
RESULT_FILE = "result.json"
SCHEMA_FILE = Path(__file__).parent / "schema" / f"result-{SCHEMA_VERSION}.json"
#: Parts of a config that do not identify a point: the same point may run with others of these.
NOT_IDENTITY = (
    "description",
    "seed",
    "repeat",
    "repeats",
    "sweep",
    "tracking",
    "validity",
    "script.fail_on",
    "script.keep_text",
    "load.processes",
    "load.executor",
    "engine.python",
    "engine.base_url",
    "engine.ready_timeout_s",
    "engine.stop_timeout_s",
    "engine.api_key_env",
)

HIDDEN = "***"
#: A key with one of these words holds a secret ...
SECRET_WORDS = {"key", "apikey", "token", "secret", "password", "passwd", "credentials", "authorization"}
#: ... but for these, which name where it is.
NOT_SECRET = {"api_key_env"}


@dataclass(kw_only=True)
class Result:
    """One point that has been run (or has failed to).

    status: "ok", "failed" (no measurement: see ``error``), "interrupted" (what was measured until then is kept).
    """

    status: str
    verdict: Verdict
    run_id: str
    point_key: str
    script: str
    config: dict[str, Any]
    epoch_time: float
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[str, ...] = ()
    sweep_id: str | None = None
    repeat: int = 0
    description: str = ""
    model: str = ""
    tokenizer: str = ""
    dataset: str = ""
    tensor_parallel_size: int = 1
    wall_s: float | None = None
    engine_version: str | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, MetricValue] = field(default_factory=dict)
    error: str | None = None
    log_tail: str | None = None

    def value(self, metric: str) -> float | None:
        """A metric's value, or None where it is absent."""
        found = self.metrics.get(metric)
        return None if found is None else found.value

    def to_json(self) -> dict[str, Any]:
        """The JSON object of ``result.json``."""
        known = asdict(self)
        versions = self.environment.get("packages", {})
        gpus = self.environment.get("gpus", [])
        known |= {
            "json_schema_version": SCHEMA_VERSION,
            "reasons": [asdict(reason) for reason in self.reasons],
            "warnings": list(self.warnings),
            "metrics": {key: _metric_json(m) for key, m in self.metrics.items()},
            "date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.epoch_time)),
            "script_name": self.script,
            "script_args": {k: self.config.get(k) for k in ("script", "load", "dataset", "qps", "num_prompts", "seed")},
            "vllm_version": self.engine_version,
            "gpu_description": f"{gpus[0]['name']} x {len(gpus)}" if gpus else None,
            "benchmarking_context": {
                "vllm_version": self.engine_version,
                "python_version": versions.get("python"),
                "torch_version": versions.get("torch"),
                "torch_cuda_version": self.environment.get("cuda"),
                "cuda_devices": f"{len(gpus)} GPUs",
                "cuda_device_names": [gpu["name"] for gpu in gpus],
            },
        }
        known["config"] = redact(self.config)
        known["dataset"] = self.dataset or "synthetic"
        cleaned: dict[str, Any] = _without_unknown(known)
        return cleaned

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Result:
        """The result in a JSON object. Raises ResultError where it does not match the schema."""
        _validate(data)
        fields = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        fields["verdict"] = Verdict(data["verdict"])
        fields["reasons"] = tuple(Reason(**{**r, "severity": Verdict(r["severity"])}) for r in data.get("reasons", ()))
        fields["warnings"] = tuple(data.get("warnings", ()))
        fields["metrics"] = {
            key: MetricValue(key=m["key"], unit=m["unit"], value=m["value"], better=Better(m["type"]))
            for key, m in data["metrics"].items()
        }
        return cls(**fields)

    def write(self, directory: Path) -> Path:
        """Write ``result.json`` atomically. Raises ResultError where it cannot be written or breaks the schema."""
        data = self.to_json()
        _validate(data)
        text = _json_text(data)
        path = directory / RESULT_FILE
        temporary = path.with_suffix(".tmp")
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise ResultError(
                f"cannot write {path}: {error.strerror}", hint="hydra.run.dir=DIR moves the output"
            ) from error
        return path

    @classmethod
    def read(cls, path: Path) -> Result:
        """Read a ``result.json`` (or the one in a directory). Raises ResultError."""
        file = path / RESULT_FILE if path.is_dir() else path
        try:
            return cls.from_json(json.loads(file.read_text(encoding="utf-8")))
        except OSError as error:
            raise ResultError(f"cannot read {file}: {error.strerror}") from error
        except json.JSONDecodeError as error:
            raise ResultError(f"{file} is not JSON: {error}") from error


def point_key(config: Mapping[str, Any]) -> str:
    """What identifies a point: a hash of its config without ``NOT_IDENTITY`` (16 hex digits)."""
    kept = {f"{key}": value for key, value in flatten(config).items() if not _not_identity(key)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:16]


def redact(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a config in which texts whose key speaks of a secret are ``***`` (``engine.env.HF_TOKEN``)."""
    return {key: _redacted(str(key), value) for key, value in config.items()}


def secrets(config: Mapping[str, Any]) -> list[str]:
    """The dotted keys of a config that hold a secret as text."""
    return [key for key, value in flatten(config).items() if value != _redacted(key.rsplit(".", 1)[-1], value)]


def _redacted(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return redact(value)
    if isinstance(value, (list, tuple)):
        return [_redacted(key, item) for item in value]
    return HIDDEN if isinstance(value, str) and value and _is_secret(key) else value


def _is_secret(key: str) -> bool:
    words = set(re.split(r"[^a-z0-9]+", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", key).lower()))
    return bool(words & SECRET_WORDS) and key not in NOT_SECRET


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` -> ``{"a.b": 1}``; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _not_identity(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in NOT_IDENTITY)


def _json_text(data: Mapping[str, Any]) -> str:
    try:
        return json.dumps(data, indent=1, allow_nan=False) + "\n"
    except ValueError as error:
        raise ResultError(f"a result must hold no NaN: {error}") from error


def _metric_json(value: MetricValue) -> dict[str, Any]:
    return {"key": value.key, "unit": value.unit, "value": value.value, "type": value.better.value}


def _without_unknown(value: Any) -> Any:
    """Drop None from objects; infinity (``qps=inf``) becomes the text "inf"."""
    if isinstance(value, dict):
        return {str(k): _without_unknown(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_without_unknown(v) for v in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return str(value)
    return value


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))


def single_point_overrides(overrides: Sequence[str]) -> list[str]:
    """A point's overrides without those that only a sweep takes: what measures it by itself."""
    keys = [(override, override.lstrip("+~").partition("=")[0]) for override in overrides]
    return [override for override, key in keys if key != "repeats" and not key.startswith("sweep.")]


def _validate(data: Mapping[str, Any]) -> None:
    problem = next(iter(_validator().iter_errors(data)), None)
    if problem is not None:
        where = ".".join(str(part) for part in problem.absolute_path) or "the top level"
        raise ResultError(f"not a benchhydra result: {where}: {problem.message[:200]}")
