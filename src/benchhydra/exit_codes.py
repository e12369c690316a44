"""The exit codes of the program and what each means: the one table, shown by ``help exit-codes`` and in docs/ci.md."""

from __future__ import annotations

EXIT_CODES = {
    0: "success; gate: no regression; ab: no main metric of B is worse; bisect: the first bad build is known",
    1: "an error, a failed point, or an INVALID result (script.fail_on)",
    2: "wrong usage of a subcommand",
    3: "gate: regression; ab: B is worse",
    4: "nothing comparable: no shared point, or no evidence between runs",
    5: "INVALID: points or runs of the candidate have no usable result",
    6: "INCOMPLETE: points or files of one side were not compared; bisect: several builds may be the first bad one",
    7: "METRIC MISSING: a main metric is missing on one side",
    8: "DIFFERENT WORK: the sides have another model, workload, or length of prompts or answers",
    9: "SAME RUNS: both sides hold the same runs",
    10: "IMPOSSIBLE VALUES: NaN, zero or negative latencies, absurd rates",
    11: "FAILED REQUESTS: requests failed on one side only, or much more often",
    12: "SUSPECT on one side only, for reasons that concern the server",
    130: "interrupted by SIGINT; everything that was started has been stopped",
    143: "terminated by SIGTERM; everything that was started has been stopped",
}
