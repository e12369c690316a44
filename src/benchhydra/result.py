"""``result.json``: the complete result of one point. MLflow, tables, reports and comparisons are derived from it.

It is a superset of nm-vllm's BenchmarkResult. Its JSON Schema is ``schema/result-1.4.0.json`` in this package; every
file is validated before it is written. Unknown values are absent; there is no NaN and no Infinity.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from benchhydra.artifacts import RESULT_FILE, read_json, write_json
from benchhydra.errors import ResultError
from benchhydra.redaction import excerpt, redact, redact_config, redact_value

SCHEMA_VERSION = "1.4.0"
#: Later times are no times: the year 10000.
LAST_EPOCH_S = 253_402_300_800
SCHEMA_FILE = Path(__file__).parent / "schema" / f"result-{SCHEMA_VERSION}.json"
#: Config keys that are not part of a point's key: the same point may run with different values of these.
NOT_IDENTITY = (
    "description",
    "seed",
    "repeat",
    "repeats",
    "objective",
    "sweep",
    "search",
    "tracking",
    "probes",
    "validity",
    "percentiles",
    "gpus.price_per_hour",
    "gpus.prices",
    "script.fail_on",
    "script.keep_text",
    "script.answer_model",
    "load.processes",
    "load.executor",
    "engine.python",
    "engine.program",
    "engine.version_command",
    "engine.ready_path",
    "engine.base_url",
    "engine.path",
    "engine.headers",
    "engine.gpus",
    "engine.ready_timeout_s",
    "engine.stop_timeout_s",
    "engine.api_key_env",
)
#: Root keys that were keys of the script in version 1.
MOVED = ("api", "slo")
#: The API that scripts of version 1 without the key ``api`` used.
DEFAULT_API = "completions"
#: Keys that were renamed since version 1: new name -> name in version 1, under which point keys are still hashed.
RENAMED_KEYS = {
    f"engine.{fault}_fraction": f"engine.{fault}_share"
    for fault in ("reset", "timeout", "http_4xx", "http_5xx", "malformed", "error_event", "early_end", "short")
}
#: Keys that were added since version 1 -> their default, which is not hashed: points of older results keep their keys.
ADDED_KEYS: dict[str, Any] = {
    "api.token_limit": "max_tokens",
    "api.json_schema": None,
    "api.regex": None,
    "api.choice": [],
    "api.tools": None,
    "api.tool_choice": "auto",
    "api.reasoning": False,
    "engine.cache_reset": "vllm",
    "engine.keep_alive": True,
    "engine.replicas": 1,
    "engine.replica_args": [],
    "engine.deal": "round_robin",
    "engine.replica_env": [],
    "engine.router": None,
    "engine.router_args": {},
    "engine.router_command": [],
    "load.cancel_fraction": 0.0,
    "load.cancel_after_s": None,
    "load.cancel_after_chunks": None,
    "script.retries": 0,
    "script.retry_backoff_s": 0.5,
    "dataset.lengths_from": None,
    "dataset.zipf_exponent": 1.0,
    "dataset.adapters": {},
    "dataset.columns": {},
    "dataset.expect": None,
    "dataset.priorities": {},
    "load.stop_when_decided": False,
    "dataset.lengths": "prompt",
    "dataset.time_unit": "auto",
    **{
        f"engine.{fault}_fraction": 0.0
        for fault in (
            *("empty", "blank", "abort", "other_model", "bare_error", "no_done"),
            *("several_choices", "long", "usage_low", "repeat"),
            *("broken_items", "invalid_output", "wrong"),
        )
    },
    "engine.prefill_us_per_token": 0.0,
    "engine.itl_per_request_ms": 0.0,
    "engine.cpu_us_per_chunk": 0.0,
    "engine.kv_cache_tokens": None,
    "engine.prefix_caching": True,
    "engine.chunked_prefill": True,
    "engine.draft_tokens": 0,
    "engine.reasoning_tokens": 0,
    "engine.context_tokens": None,
    "engine.adapters": [],
    "engine.adapter_ms": 0.0,
    "engine.priority_scheduling": False,
    "engine.ignore_disconnects": False,
    "engine.acceptance": 0.7,
    "dataset.prefix_groups": 1,
    "dataset.prefix_zipf": 0.0,
    "dataset.prefix_hit_fraction": None,
    "dataset.prefix_block_tokens": 16,
    "dataset.cache_salt": "none",
    "dataset.length_scale": 1.0,
    "load.loops": 1,
    "engine.prefix_cache_blocks": None,
    "engine.prefix_block_tokens": 16,
}

#: The setting that holds the engine's option.
ENGINE_NAME = "engine.name"
#: Engines of results that did not hold their name, by a key that only they had. Their names are not hashed either.
FIRST_ENGINES = {"engine.cpu_kv_cache_gib": "vllm", "engine.base_url": "attach", "engine.ttft_ms": "fake"}

#: Key metrics of results of schema 1.0.0, which did not contain them, by script.
LEGACY_KEY_METRICS = {
    "serving": (
        "request_throughput",
        "output_throughput",
        "mean_ttft_ms",
        "p99_ttft_ms",
        "mean_tpot_ms",
        "p99_e2el_ms",
    ),
    "throughput": ("request_throughput", "output_throughput", "total_token_throughput"),
}
LEGACY_CHARTS = {
    "serving": (
        ("achieved_rps", "p99_ttft_ms"),
        ("output_throughput", "mean_tpot_ms"),
        ("achieved_rps", "mean_e2el_ms"),
    ),
}
#: Metrics renamed since schema 1.0.0: old -> new.
RENAMED_METRICS = {
    "p50_ttft_with_failures_ms": "median_ttft_with_failures_ms",
    "p50_e2el_with_failures_ms": "median_e2el_with_failures_ms",
}
#: Units renamed since schema 1.0.0: old -> new.
RENAMED_UNITS = {"prompts/s": "requests/s"}


class Better(StrEnum):
    """In which direction a metric improves (nm-vllm's three tags)."""

    BIGGER = "BiggerIsBetter"
    SMALLER = "SmallerIsBetter"
    OBSERVATION = "Observation"


@dataclass(frozen=True, kw_only=True)
class MetricValue:
    """One measured value with its unit and direction."""

    key: str
    unit: str
    value: float
    better: Better


class Verdict(StrEnum):
    """Whether a result can be trusted, in order of severity."""

    VALID = "VALID"
    SUSPECT = "SUSPECT"
    INVALID = "INVALID"


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why a result is not VALID: the rule (``check``), the severity, and a sentence with the value and its limit."""

    check: str
    severity: Verdict
    text: str


@dataclass(frozen=True, kw_only=True)
class FailureText:
    """Why requests failed: the class of failure (a key of ``Result.failures``), the words, the number of requests."""

    status: str
    text: str
    count: int

    def __str__(self) -> str:
        return f"{self.count} x {self.status}: {self.text}"


@dataclass(kw_only=True)
class Result:
    """The result of one point.

    status: "ok", "failed" (nothing was measured: see ``error``), "interrupted" (metrics cover what was measured).
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
    failure_texts: tuple[FailureText, ...] = ()
    metrics: dict[str, MetricValue] = field(default_factory=dict)
    groups: dict[str, dict[str, dict[str, MetricValue]]] = field(default_factory=dict)
    key_metrics: tuple[str, ...] = ()
    charts: tuple[tuple[str, str], ...] = ()
    load_label: str = ""
    error: str | None = None
    log_tail: str | None = None

    def value(self, metric: str) -> float | None:
        """Return a metric's value; None if it is absent."""
        value = self.metrics.get(metric)
        return None if value is None else value.value

    def redact(self) -> None:
        """Hide the secrets in its texts, which are printed and logged as well as written."""
        self.config, self.metadata = redact_config(self.config), redact_value(self.metadata)
        self.reasons = tuple(replace(reason, text=redact(reason.text)) for reason in self.reasons)
        self.warnings = tuple(map(redact, self.warnings))
        self.failure_texts = tuple(replace(failure, text=redact(failure.text)) for failure in self.failure_texts)
        for name in ("description", "model", "tokenizer", "load_label", "engine_version", "error", "log_tail"):
            text = getattr(self, name)
            setattr(self, name, text and redact(text))

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of ``result.json``, with secrets redacted."""
        document, config = asdict(self), redact_config(self.config)
        versions = self.environment.get("packages", {})
        gpus = self.environment.get("gpus", [])
        document |= {
            "json_schema_version": SCHEMA_VERSION,
            "reasons": [asdict(reason) for reason in self.reasons],
            "failure_texts": [asdict(failure) for failure in self.failure_texts],
            "warnings": list(self.warnings),
            "key_metrics": list(self.key_metrics),
            "charts": [list(pair) for pair in self.charts],
            "metrics": _metrics_json(self.metrics),
            "groups": {
                label: {name: _metrics_json(metrics) for name, metrics in groups.items()}
                for label, groups in self.groups.items()
            },
            "date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.epoch_time)),
            "script_name": self.script,
            "script_args": {k: config.get(k) for k in ("script", "load", "dataset", "qps", "num_prompts", "seed")},
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
        document["config"] = config
        document["dataset"] = self.dataset or "synthetic"
        cleaned: dict[str, Any] = redact_value(_without_none(document))
        return cleaned

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Result:
        """Return the result in a JSON object. Raises ResultError if it does not match the schema."""
        _validate(data)
        fields = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        fields["verdict"] = Verdict(data["verdict"])
        fields["reasons"] = tuple(Reason(**{**r, "severity": Verdict(r["severity"])}) for r in data.get("reasons", ()))
        fields["warnings"] = tuple(data.get("warnings", ()))
        fields["failure_texts"] = tuple(map(_failure_text, data.get("failure_texts", ())))
        fields["metrics"] = _metrics_of_json(data["metrics"])
        fields["groups"] = {
            label: {name: _metrics_of_json(metrics) for name, metrics in groups.items()}
            for label, groups in data.get("groups", {}).items()
        }
        script = data["script"]
        fields["key_metrics"] = tuple(data.get("key_metrics", LEGACY_KEY_METRICS.get(script, ())))
        fields["charts"] = tuple((x, y) for x, y in data.get("charts", LEGACY_CHARTS.get(script, ())))
        fields["load_label"] = data["load_label"] if "load_label" in data else legacy_load_label(script, data["config"])
        return cls(**fields)

    def write(self, directory: Path) -> Path:
        """Write ``result.json`` atomically and return its path. Raises ResultError if it is invalid or unwritable."""
        data = self.to_json()
        _validate(data)
        path = directory / RESULT_FILE
        write_json(path, data, durable=True)
        return path

    @classmethod
    def read(cls, path: Path) -> Result:
        """Read a ``result.json`` (or the one in a directory). Raises ResultError."""
        file = path / RESULT_FILE if path.is_dir() else path
        try:
            return cls.from_json(read_json(file))
        except ResultError as error:
            if str(file) in error.message:
                raise
            raise ResultError(f"{file}: {error.message}") from error


def legacy_load_label(script: str, config: Mapping[str, Any]) -> str:
    """Return the load label (``qps=5``, ``concurrency=8``) for a file without one: schema 1.0.0 or another tool's."""
    load, qps = config.get("load"), config.get("qps")
    in_flight = load.get("max_in_flight") if isinstance(load, Mapping) else None
    if script not in LEGACY_CHARTS or (qps is None and not in_flight):
        return ""
    if qps in (None, "inf") and in_flight:
        return f"concurrency={in_flight}"
    return f"qps={qps:g}" if isinstance(qps, float | int) else f"qps={qps}"


def point_key(config: Mapping[str, Any]) -> str:
    """Return the key of a point: a hash of its identity, 16 hex digits."""
    identity = point_settings(config)
    if identity.get(ENGINE_NAME) in FIRST_ENGINES.values():
        del identity[ENGINE_NAME]
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]


def point_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what identifies a point: its flat config without ``NOT_IDENTITY``.

    Keys have their names in version 1, so that a point keeps its key, and its history, when keys are renamed.
    """
    plain = {str(key): value for key, value in flatten(config).items()}
    flat = _under_first_names(plain)
    engine = plain.get(ENGINE_NAME) or next((name for key, name in FIRST_ENGINES.items() if key in plain), None)
    flat |= {ENGINE_NAME: engine} if engine else {}
    return {key: value for key, value in flat.items() if not _not_identity(key)}


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return dotted keys: ``{"a": {"b": 1}}`` -> ``{"a.b": 1}``; lists and empty objects stay values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _under_first_names(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return a flat config with the keys of version 1, where ``api`` and ``slo`` were keys of the streaming script.

    For all other scripts, ``api`` and ``slo`` are included only if they differ from their defaults.
    """
    flat = {key: value for key, value in flat.items() if key not in ADDED_KEYS or value != ADDED_KEYS[key]}
    api = {f"script.{key}": value for key, value in flat.items() if key.startswith("api.")}
    limits = {f"script.{key}": value for key, value in flat.items() if key.startswith("slo.") and value is not None}
    first = {RENAMED_KEYS.get(key, key): value for key, value in flat.items() if key.partition(".")[0] not in MOVED}
    name = api.pop("script.api.name", None)
    if name is not None and ("script.stream" in flat or name != DEFAULT_API):
        first |= {"script.api": name, **api}
    if name is not None and "script.stream" in flat and not limits:
        first["script.slo"] = {}
    return first | limits


def _not_identity(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in NOT_IDENTITY)


def _failure_text(entry: Mapping[str, Any]) -> FailureText:
    return FailureText(status=entry["status"], text=entry["text"], count=entry["count"])


def _metric_value(entry: Mapping[str, Any]) -> MetricValue:
    """Read a metric of a JSON object; replace an old name of the metric or its unit by the current one."""
    key, unit = RENAMED_METRICS.get(entry["key"], entry["key"]), RENAMED_UNITS.get(entry["unit"], entry["unit"])
    return MetricValue(key=key, unit=unit, value=entry["value"], better=Better(entry["type"]))


def _metrics_of_json(data: Mapping[str, Any]) -> dict[str, MetricValue]:
    return {metric.key: metric for metric in map(_metric_value, data.values())}


def _metrics_json(metrics: Mapping[str, MetricValue]) -> dict[str, Any]:
    return {key: _metric_json(metric) for key, metric in metrics.items()}


def _metric_json(value: MetricValue) -> dict[str, Any]:
    return {"key": value.key, "unit": value.unit, "value": value.value, "type": value.better.value}


def _without_none(value: Any) -> Any:
    """Return the value without None in objects; infinity (``qps=inf``) becomes the text "inf".

    Numbers and texts of other types (``numpy.float64``, ``numpy.str_``) become Python's own: the validator takes these.
    """
    if isinstance(value, dict):
        return {str(k): _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_without_none(v) for v in value]
    if isinstance(value, float):
        return str(float(value)) if value in (float("inf"), float("-inf")) else float(value)
    return str.__str__(value) if isinstance(value, str) else value


@cache
def _validator() -> Any:
    from jsonschema_rs import Draft202012Validator  # 100 times as fast as jsonschema, and imported in half the time

    return Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))


def single_point_overrides(overrides: Sequence[str]) -> list[str]:
    """Return a point's overrides without those of the sweep: a command with these runs this point only."""
    keys = [(override, override.lstrip("+~").partition("=")[0]) for override in overrides]
    return [override for override, key in keys if key.partition(".")[0] not in ("repeats", "sweep", "search")]


def _validate(data: Mapping[str, Any]) -> None:
    try:
        problem = next(iter(_validator().iter_errors(data)), None)
    except ValueError as error:  # half a character, which no file in UTF-8 holds
        raise ResultError(f"not a benchhydra result: {excerpt(str(error), 200)}") from error
    if problem is not None:
        where = ".".join(str(part) for part in problem.instance_path) or "the top level"
        raise ResultError(f"not a benchhydra result: {where}: {excerpt(problem.message, 200)}")
