"""Evidence: what results say about each other. Sources of runs, statistics, comparison, gate, history."""

from __future__ import annotations
