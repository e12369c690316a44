"""How often a verdict is right about servers whose truth is known: honest ones must be VALID, wrong figures must not.

Prints the tables of docs/validity.md: ``python benchmarks/lying_server.py [draws] [seed]`` from the project's root. The
draws are those of tests/lying, in virtual time: 20,000 take about five minutes of one core.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.lying.draws import DrawStatistics, draw_many
from tests.lying.features import LIES
from tests.lying.virtual import virtual_time

from benchhydra.result import Verdict


def print_verdicts(drawn: DrawStatistics) -> None:
    print("| servers | draws | VALID | SUSPECT | INVALID | VALID with a wrong figure |")
    print("|---|---|---|---|---|---|")
    for kind in ("honest", "lying"):
        counts = [drawn.verdicts[kind, verdict] for verdict in Verdict]
        believed = sum(bool(outcome.case.lies) == (kind == "lying") for outcome in drawn.lies_believed)
        print(f"| {kind} |", " | ".join(f"{number:,}" for number in (sum(counts), *counts, believed)), "|")


def print_faults(drawn: DrawStatistics) -> None:
    print("\n| fault, alone | draws | figures wrong | of these not VALID | rules that say so |")
    print("|---|---|---|---|---|")
    for name in LIES:
        alone = drawn.alone[name]
        checks = Counter(alone.checks).most_common(3)
        rules = ", ".join(f"{check} {count}" for check, count in checks)
        print(f"| {name} | {alone.draws} | {alone.wrong} | {alone.caught} | {rules} |")


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with virtual_time():
        drawn = draw_many(count, seed)
    print_verdicts(drawn)
    print_faults(drawn)
    for title, outcomes in {"WRONG AND VALID": drawn.lies_believed, "FALSE ALARMS": drawn.false_alarms}.items():
        print(f"\n{title}: {len(outcomes)}")
        for outcome in outcomes[:20]:
            print(f"{outcome}\n")
    return 1 if drawn.lies_believed else 0


if __name__ == "__main__":
    sys.exit(main())
