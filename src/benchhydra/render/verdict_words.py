"""The words for the verdicts of comparisons, gates and A/B tests, shared by all formats."""

from __future__ import annotations

from benchhydra.analysis.comparison import Basis, ChangeVerdict, GateOutcome, MetricChange

#: The first words of a headline.
GATE_WORDS = {
    GateOutcome.FINE: "no regression",
    GateOutcome.REGRESSION: "REGRESSION",
    GateOutcome.NOTHING_COMPARABLE: "nothing comparable",
    GateOutcome.INVALID: "INVALID",
    GateOutcome.INCOMPLETE: "INCOMPLETE",
    GateOutcome.METRIC_MISSING: "METRIC MISSING",
    GateOutcome.DIFFERENT_WORK: "DIFFERENT WORK",
    GateOutcome.SAME_RUNS: "SAME RUNS",
    GateOutcome.IMPOSSIBLE: "IMPOSSIBLE VALUES",
    GateOutcome.FAILURES: "FAILED REQUESTS",
    GateOutcome.SUSPECT: "SUSPECT",
}
AB_WORDS = GATE_WORDS | {
    GateOutcome.FINE: "no evidence that a main metric of B is worse",
    GateOutcome.REGRESSION: "B is worse",
    GateOutcome.INVALID: "INVALID: too few usable runs",
}


def detectable_words(fraction: float) -> str:
    """The smallest change that the evidence could have shown: ``could have detected 4.1 %``."""
    return f"could have detected {fraction * 100:.1f} %" if fraction <= 1 else "could not have detected a doubling"


def change_words(metric: MetricChange) -> str:
    """The verdict on a change; what would decide it if it is not sure; a note if evidence is weaker."""
    words = metric.change.words
    if metric.change is ChangeVerdict.INCONCLUSIVE and metric.detectable is not None:
        words += f", {detectable_words(metric.detectable)}"
    if metric.repeats_needed:
        words += f", repeats={metric.repeats_needed} or ab would settle it"
    if metric.basis is Basis.REQUESTS:
        words += " (weaker evidence: one run a side, its requests resampled)"
    return f"{words} ({metric.note})" if metric.note else words
