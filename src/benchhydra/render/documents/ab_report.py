"""What an A/B test found, as text, Markdown and JSON: the outcome first, then main metrics, then all others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import StringIO
from typing import Any

from benchhydra.analysis.ab import AbTest
from benchhydra.analysis.gate import GateOutcome
from benchhydra.render.documents import compare_json, compare_markdown
from benchhydra.render.terminal import comparison_table

SAID = {
    GateOutcome.FINE: "no main metric of B is shown to be worse",
    GateOutcome.REGRESSION: "B is worse",
    GateOutcome.NOTHING_COMPARABLE: "nothing comparable",
    GateOutcome.INVALID: "INVALID: too few runs may be used",
}


@dataclass(frozen=True, kw_only=True)
class AbReport:
    """A test and what its reader needs to know of how it was made."""

    test: AbTest
    overrides: dict[str, list[str]]
    server_starts: int

    def lines(self) -> list[str]:
        """The outcome, why it stopped, what it took, what decides."""
        test = self.test
        keys = ", ".join(metric.metric for metric in test.main()) or "none"
        return [
            f"A/B: {SAID[test.outcome()]}",
            f"stopped: {test.stopped}",
            f"{test.pairs} pairs, {self.server_starts} server starts, {test.wall_s:.0f} s; base is A, candidate is B",
            f"main metrics: {keys}",
            f"intervals hold at every look, those of the main metrics together with {1 - test.thresholds.alpha:.1%}",
        ]


def ab_table(report: AbReport) -> str:
    """For a terminal."""
    text = StringIO()
    comparison_table.compare_table(report.test.comparison(), text)
    return "\n".join([*report.lines(), "", text.getvalue()])


def ab_markdown(report: AbReport) -> str:
    """For a page."""
    title, *lines = (compare_markdown.printable(line) for line in report.lines())
    sides = [f"{side.upper()}: {compare_markdown.code(' '.join(words))}" for side, words in report.overrides.items()]
    head = "\n".join(f"- {line}" for line in (*lines, *sides))
    return f"## {title}\n\n{head}\n\n{compare_markdown.compare_markdown(report.test.comparison())}"


def ab_json(report: AbReport) -> str:
    """For programs: a comparison with the test's own facts."""
    test = report.test
    facts: dict[str, Any] = {
        "outcome": test.outcome().name.lower(),
        "exit_code": int(test.outcome()),
        "stopped": test.stopped,
        "pairs": test.pairs,
        "server_starts": report.server_starts,
        "wall_s": test.wall_s,
        "main_metrics": [metric.metric for metric in test.main()],
        "overrides": report.overrides,
    }
    return json.dumps(facts | json.loads(compare_json.compare_json(test.comparison())), indent=1) + "\n"
