"""Renderers: how a document of one kind is written in one format.

A function of (document, text stream) declared with ``@renderer("comparison", "markdown")`` in a module of
``render/documents/`` or ``render/terminal/``, or in a user's ``benchhydra_plugins``, is offered by the commands at
once: they take their ``--format`` choices from ``formats(kind)``.

=============  ==============================================
kind           document
=============  ==============================================
comparison     ``analysis.comparison.Comparison``
gate           ``analysis.gate.Decision``
ab             ``render.ab_report.AbReport``
history        list of ``analysis.history.MetricHistory``
sweep          ``render.sweep_rows.SweepRows``
point          ``render.point_report.PointReport``
suite          ``render.suite_report.SuiteReport``
metrics        list of ``metrics.Metric``
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
    """Declare the function that writes a document of this kind in this format to a text stream."""

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
    """The names of the formats that a kind of document can be written in, sorted."""
    _discover()
    return sorted(format for of, format in _renderers if of == kind)


def render(kind: str, format: str, document: Any, stream: TextIO) -> None:
    """Write a document. Raises ConfigError where no renderer is declared for this kind and format."""
    _discover()
    write = _renderers.get((kind, format))
    if write is None:
        raise ConfigError(f"no such format of {kind}: {format}", hint=f"one of {', '.join(formats(kind))}")
    write(document, stream)


def rendered(kind: str, format: str, document: Any) -> str:
    """A document as text."""
    text = StringIO()
    render(kind, format, document, text)
    return text.getvalue()


@cache
def _discover() -> None:
    for package in PACKAGES:
        registry.import_modules(package)
    registry.import_plugins()
