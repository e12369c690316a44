"""The content of a result's MLflow run: parameters, metrics, tags, name and note. Pure functions; no MLflow import."""

from __future__ import annotations

import getpass
import hashlib
import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

from benchhydra.escaping import escape_markdown
from benchhydra.points import point_identity
from benchhydra.redaction import HIDDEN, redact, redact_config
from benchhydra.render.figures import number
from benchhydra.render.text import markdown_table
from benchhydra.result import Result, flatten

#: Limits of MLflow 3: characters in a key, a parameter and a tag.
KEY, PARAM, TAG = 250, 6000, 8000
STATUS = {"ok": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
#: The significant digits of logged values: less than any noise, and short in MLflow's columns.
DIGITS = 6
#: The most groups of each label whose metrics are logged; ``result.json`` has all.
MOST_GROUPS = 32
#: The most metrics in the table of a run's note.
NOTE_METRICS = 40


def mlflow_key(name: str) -> str:
    """The name with characters that MLflow refuses replaced by "_", and cut to MLflow's limit."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:KEY]


def run_params(result: Result) -> dict[str, str]:
    """The flattened config as texts, without secrets, null values and hidden values, cut to MLflow's limit."""
    flat = flatten(redact_config(result.config))
    return {mlflow_key(key): _text(value)[:PARAM] for key, value in flat.items() if value not in (None, HIDDEN)}


def rounded(value: float) -> float:
    """The value with six significant digits; digits before the decimal point are all kept."""
    decimals = DIGITS - 1 - math.floor(math.log10(abs(value))) if value else 0
    return round(value, max(0, decimals))


def run_metrics(result: Result) -> dict[str, float]:
    """Metric name -> rounded value, for results of every verdict. The artifact ``result.json`` has the exact ones."""
    return {mlflow_key(name): rounded(metric.value) for name, metric in result.metrics.items()}


def group_metrics(result: Result) -> dict[str, float]:
    """The rounded metrics of groups of requests, named as series are: ``groups/p99_ttft_ms replica:0``."""
    return {
        mlflow_key("groups/" + f"{key} {label}:{redact(name)}".replace("/", "_")): rounded(metric.value)
        for label, groups in result.groups.items()
        for name, metrics in list(groups.items())[:MOST_GROUPS]
        for key, metric in metrics.items()
    }


def run_tags(result: Result) -> dict[str, str]:
    """The tags of a run without those of its metrics: identity, verdict and origin of the result."""
    tags = {
        "run_id": result.run_id,
        "sweep_id": result.sweep_id,
        "point_key": result.point_key,
        "repeat": result.repeat,
        "variant": point_identity(result.config).variant,
        "script": result.script,
        "model": model_name(result),
        "dataset": result.dataset,
        "load": result.load_label,
        "description": result.description,
        "status": result.status,
        "verdict": result.verdict.value,
        "metrics_usable": "false" if result.verdict == "INVALID" else "true",
        "reasons": "; ".join(reason.text for reason in result.reasons),
        "failures": "; ".join(map(str, result.failure_texts)),
        "engine_version": result.engine_version,
        "error": result.error,
        "mlflow.source.name": "benchhydra",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
    } | _origin(result)
    return {mlflow_key(key): redact(str(value))[:TAG] for key, value in tags.items() if value not in (None, "")}


def run_dataset(result: Result) -> dict[str, str]:
    """The fields of MLflow's Dataset: its name, a digest of its config and seed, and these as its source."""
    config = {"dataset": redact_config(result.config).get("dataset"), "seed": result.config.get("seed")}
    source = json.dumps(config, default=str)
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    name = result.dataset or "prompts"
    return {"name": name[:500], "digest": digest, "source_type": "local", "source": source[:60_000]}


def model_name(result: Result) -> str:
    """The last part of the model's id or path."""
    return result.model.rstrip("/").rpartition("/")[2]


def run_name(result: Result) -> str:
    """The run's name: load, repeat, model, script, in this order because lists show about 20 characters.

    An INVALID result is marked.
    """
    invalid = "[INVALID]" if result.verdict == "INVALID" else ""
    repeat = f"r{result.repeat}" if result.repeat else ""
    parts = [invalid, result.load_label, repeat, model_name(result), result.script]
    return " ".join(part for part in parts if part)


def run_note(result: Result, directory: Path) -> str:
    """The Markdown note on the run's page: verdict, reasons, metrics, directory, command."""
    lines = [f"**{result.verdict.value}** ({result.status}) {escape_markdown(result.description)}".rstrip(), ""]
    lines += [f"- {reason.severity.value}: {escape_markdown(reason.text)}" for reason in result.reasons]
    lines += [f"- failed: {escape_markdown(str(failure))}" for failure in result.failure_texts]
    if result.error:
        lines += ["", f"Error: {escape_markdown(result.error)}"]
    if result.metrics:
        lines += ["", *_metric_table(result)]
    lines += ["", f"Files: {escape_markdown(str(directory))}"]
    command = result.metadata.get("command")
    if isinstance(command, str | list):
        text = command if isinstance(command, str) else shlex.join(map(str, command))
        lines += ["", f"Command: {escape_markdown(text)}"]
    return redact("\n".join(lines))[:TAG]


def _metric_table(result: Result) -> list[str]:
    rows = (
        [escape_markdown(metric.key), number(metric.value), escape_markdown(metric.unit), metric.better.value]
        for metric in list(result.metrics.values())[:NOTE_METRICS]
    )
    return markdown_table(("metric", "value", "unit", "better"), rows, right=(1,))


def _origin(result: Result) -> dict[str, Any]:
    environment = flatten(result.environment)
    commit = environment.get("git.commit")
    return {
        "git_commit": commit,
        "mlflow.source.git.commit": commit,
        "machine": environment.get("host.name"),
        "machine_class": environment.get("machine_class"),
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return None
