"""The names and notes of curves, for MLflow's tables, legends and run pages."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from benchhydra.analysis.pairing import differing_settings
from benchhydra.escaping import escape_markdown
from benchhydra.redaction import redact
from benchhydra.render.figures import number
from benchhydra.render.text import markdown_table
from benchhydra.tracking.curves import Curve
from benchhydra.tracking.entry import TAG

MODEL = "model.id"
#: The most settings in a name.
MOST_SETTINGS = 4
#: The most main metrics in a note's table.
MOST_COLUMNS = 8


def curve_names(curves: Sequence[Curve]) -> list[str]:
    """A name for each curve of a sweep: ``64 (max_num_seqs) llama2 over qps, 11-26 13:25`` (UTC).

    Names begin with the values that tell the curves apart, because narrow legends show about 14 characters. The time
    tells curves of different sweeps apart.
    """
    differing = _differing_values(curves)
    several_scripts = len({curve.script for curve in curves}) > 1
    return [
        _name(curve, {key: values[row] for key, values in differing.items()}, curve.script if several_scripts else "")
        for row, curve in enumerate(curves)
    ]


def curve_note(curve: Curve) -> str:
    """The Markdown note on a curve's page: verdicts, how its rates are logged, the main metrics at each rate."""
    lines = [f"**{curve.verdict.value}**: {_verdicts(curve)}", ""]
    if curve.steps_per_unit > 1:
        lines += [f"Step = {curve.axis} x {curve.steps_per_unit}; the metric `{curve.axis}` has the rate itself.", ""]
    lines += ["Means of the repeats at each rate, without INVALID points. The points are the runs below this one.", ""]
    lines += _table(curve) if curve.repeats else []
    return redact("\n".join(lines))[:TAG]


def _name(curve: Curve, values: Mapping[str, str], script: str) -> str:
    settings = ", ".join(key.rpartition(".")[2] for key in values if key != MODEL)
    invalid = sum(not point.usable for point in curve.points)
    tags = curve.points[0].tags
    parts = [
        *values.values(),
        f"[{invalid} INVALID]" if invalid else "",
        f"({settings})" if settings else "",
        tags.get("description", ""),
        "" if MODEL in values else tags.get("model", ""),
        script,
        f"over {curve.axis},",
        time.strftime("%m-%d %H:%M", time.gmtime(curve.start_ms / 1000)),
    ]
    return " ".join(part for part in parts if part)


def _differing_values(curves: Sequence[Curve]) -> dict[str, list[str]]:
    """Setting -> its value in each curve, short ones first; of settings that vary together only one."""
    key_of: dict[tuple[str, ...], str] = {}
    for key in differing_settings([curve.system for curve in curves]):
        texts = [str(curve.system.get(key)) for curve in curves]
        last_parts = [text.rstrip("/").rpartition("/")[2] for text in texts]  # of paths and hub ids
        short = last_parts if len(set(last_parts)) == len(set(texts)) else texts
        key_of.setdefault(tuple(short), key)
    by_length = sorted(key_of, key=lambda values: max(map(len, values)))[:MOST_SETTINGS]
    return {key_of[values]: list(values) for values in by_length}


def _verdicts(curve: Curve) -> str:
    verdicts = [point.tags.get("verdict", "") for point in curve.points]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in sorted(set(verdicts)))


def _table(curve: Curve) -> list[str]:
    names = curve.info.main[:MOST_COLUMNS]
    header = (curve.axis, "repeats", *(escape_markdown(name) for name in names))
    rows = [_row(curve, rate, names) for rate in sorted(curve.repeats)]
    return markdown_table(header, rows, right=range(2 + len(names)))


def _row(curve: Curve, rate: float, names: Sequence[str]) -> list[str]:
    means = curve.means(rate)
    figures = [number(means[name]) if name in means else "" for name in names]
    return [f"{rate:g}", str(len(curve.repeats[rate])), *figures]
