"""A result as MLflow keeps it: parameters, metrics, tags, name and note. Pure: MLflow itself is not needed here."""

from __future__ import annotations

import getpass
import hashlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

from benchhydra.render.text import escape_markdown, number
from benchhydra.result import Result, flatten

#: Limits of MLflow 3: parameters a batch, characters of a key, of a parameter and of a tag.
BATCH, KEY, PARAM, TAG = 100, 250, 6000, 8000
STATUS = {"ok": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
SECRET = re.compile(r"(api_?key|_key|secret|passwo?r?d|credentials?|(^|_)token)$", re.IGNORECASE)


def mlflow_key(name: str) -> str:
    """A name that MLflow accepts."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:KEY]


def run_params(result: Result) -> dict[str, str]:
    """The flattened intent, as texts within MLflow's limits; what is named like a secret is left out."""
    flat = flatten(result.config)
    return {
        mlflow_key(k): _text(v)[:PARAM]
        for k, v in flat.items()
        if v is not None and not SECRET.search(k.split(".")[-1])
    }


def run_metrics(result: Result) -> dict[str, float]:
    """Every metric by its name, whatever the verdict."""
    return {mlflow_key(name): found.value for name, found in result.metrics.items()}


def run_tags(result: Result) -> dict[str, str]:
    """Identity, verdict and origin of a result, and unit and direction of each metric."""
    known = {
        "run_id": result.run_id,
        "sweep_id": result.sweep_id,
        "point_key": result.point_key,
        "repeat": result.repeat,
        "script": result.script,
        "model": model_name(result),
        "dataset": result.dataset,
        "description": result.description,
        "status": result.status,
        "verdict": result.verdict.value,
        "metrics_usable": "false" if result.verdict == "INVALID" else "true",
        "reasons": "; ".join(reason.text for reason in result.reasons),
        "engine_version": result.engine_version,
        "error": result.error,
        "mlflow.source.name": "benchhydra",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
    } | _origin(result)
    for name, value in result.metrics.items():
        known |= {f"better.{name}": value.better.value, f"unit.{name}": value.unit}
    return {mlflow_key(k): str(v)[:TAG] for k, v in known.items() if v not in (None, "")}


def run_dataset(result: Result) -> dict[str, str]:
    """Fields of MLflow's Dataset: name, digest of what was asked for, where it came from."""
    source = json.dumps({"dataset": result.config.get("dataset"), "seed": result.config.get("seed")}, default=str)
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    name = result.dataset or "prompts"
    return {"name": name[:500], "digest": digest, "source_type": "local", "source": source[:60_000]}


def model_name(result: Result) -> str:
    """The last part of the model's id or path."""
    return result.model.rstrip("/").rpartition("/")[2]


def run_name(result: Result) -> str:
    """What differs most comes first: lists show some twenty characters. A result not to be believed says so."""
    invalid = "[INVALID]" if result.verdict == "INVALID" else ""
    repeat = f"r{result.repeat}" if result.repeat else ""
    parts = [invalid, _load(result), repeat, model_name(result), result.script]
    return " ".join(part for part in parts if part)


def run_note(result: Result, directory: Path) -> str:
    """The Markdown text of the run page."""
    lines = [f"**{result.verdict.value}** ({result.status}) {escape_markdown(result.description)}".rstrip(), ""]
    lines += [f"- {reason.severity.value}: {escape_markdown(reason.text)}" for reason in result.reasons]
    if result.error:
        lines += ["", f"Error: {escape_markdown(result.error)}"]
    if result.metrics:
        lines += ["", "| metric | value | unit | better |", "|---|--:|---|---|"]
        lines += [
            f"| {escape_markdown(m.key)} | {number(m.value)} | {escape_markdown(m.unit)} | {m.better.value} |"
            for m in list(result.metrics.values())[:40]
        ]
    command = result.metadata.get("command")
    lines += ["", f"Files: {escape_markdown(str(directory))}"]
    if isinstance(command, str | list):
        text = command if isinstance(command, str) else shlex.join(map(str, command))
        lines += ["", f"Command: {escape_markdown(text)}"]
    return "\n".join(lines)[:TAG]


def _load(result: Result) -> str:
    load = result.config.get("load")
    closed = result.config.get("qps") in (None, "inf") and isinstance(load, dict) and load.get("max_in_flight")
    if result.script == "serving" and closed:
        return f"concurrency={closed}"
    qps = result.config.get("qps")
    if result.script == "serving" and qps is not None:
        return f"qps={number(qps) if isinstance(qps, float) else qps}"
    return ""


def _origin(result: Result) -> dict[str, Any]:
    facts = flatten(result.environment)
    commit = facts.get("git.commit")
    return {
        "git_commit": commit,
        "mlflow.source.git.commit": commit,
        "machine": facts.get("host.name"),
        "machine_class": facts.get("machine_class"),
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return None
