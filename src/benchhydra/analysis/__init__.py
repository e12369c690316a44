"""What results say about each other: reading runs, comparison, gate, A/B test, history. Statistics are in ``stats``."""

from __future__ import annotations
