"""Renderers: functions that write a document of one kind in one format.

A renderer takes (document, text stream) and is declared with ``@renderer("comparison", "markdown")`` in a module of
``render/documents/`` or ``render/terminal/``, or in a user's ``benchhydra_plugins``. Commands offer it as soon as it
is declared: their ``--format`` choices are ``formats(kind)``.

=============  ==============================================
kind           document
=============  ==============================================
comparison     ``analysis.comparison.Comparison``
gate           ``analysis.gate.Decision``
ab             ``render.ab_report.AbReport``
bisect         ``render.bisect_report.BisectReport``
history        list of ``analysis.history.MetricHistory``
sweep          ``render.sweep_rows.SweepRows``
point          ``render.point_report.PointReport``
suite          ``render.suite_report.SuiteReport``
metrics        list of ``metrics.Metric``
runs           ``render.run_rows.RunRows``
archive        list of ``render.archive_rows.ArchiveRow``
=============  ==============================================
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from io import StringIO
from typing import Any, TextIO

from benchhydra import registry
from benchhydra.errors import ConfigError

Renderer = Callable[[Any, TextIO], None]
PACKAGES = ("benchhydra.render.documents", "benchhydra.render.terminal")

_renderers: dict[tuple[str, str], Renderer] = {}


def renderer(kind: str, format: str) -> Callable[[Callable[[Any, TextIO], None]], Callable[[Any, TextIO], None]]:
    """Declare a renderer. Raises ConfigError if another module has declared one of this kind and format."""

    def declare(write: Renderer) -> Renderer:
        other = _renderers.get((kind, format))
        if other is not None and other.__module__ != write.__module__:
            raise ConfigError(
                f"two renderers of {kind} as {format}: {other.__module__} and {write.__module__}",
                hint="give one of them another format name",
            )
        _renderers[kind, format] = write
        return write

    return declare


def formats(kind: str) -> list[str]:
    """The sorted names of the formats in which this kind of document can be written."""
    _discover()
    return sorted(format for renderer_kind, format in _renderers if renderer_kind == kind)


def render(kind: str, format: str, document: Any, stream: TextIO) -> None:
    """Write a document to a stream. Raises ConfigError if there is no renderer of this kind and format."""
    _discover()
    write = _renderers.get((kind, format))
    if write is None:
        raise ConfigError(f"no such format of {kind}: {format}", hint=f"one of {', '.join(formats(kind))}")
    write(document, stream)


def rendered(kind: str, format: str, document: Any) -> str:
    """Render a document to a string. Raises ConfigError if there is no renderer of this kind and format."""
    text = StringIO()
    render(kind, format, document, text)
    return text.getvalue()


@cache
def _discover() -> None:
    for package in PACKAGES:
        registry.import_modules(package)
    registry.import_plugins()
