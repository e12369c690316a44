"""``make test`` runs failed tests once more, and hides nothing else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Notes each call; the first of pytest ends with the code $FIRST_CODE, its second run with $AGAIN_CODE.
PYTHON = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
  *--last-failed*) exit "$AGAIN_CODE" ;;
  *"not alone"*) exit "$FIRST_CODE" ;;
esac
"""


@pytest.mark.parametrize(
    ("first", "again", "passes", "calls"),
    [
        (0, 0, True, ["not alone", "alone"]),
        (1, 0, True, ["not alone", "again", "alone"]),
        (1, 1, False, ["not alone", "again"]),
        (3, 0, False, ["not alone"]),  # an error of pytest's own: it has not run all tests
        (139, 0, False, ["not alone"]),
    ],
)
def test_only_failed_tests_are_run_again(
    tmp_path: Path, first: int, again: int, passes: bool, calls: list[str]
) -> None:
    python, log = tmp_path / "python", tmp_path / "calls"
    python.write_text(PYTHON)
    python.chmod(0o755)
    words = ["make", "test", f"BIN={tmp_path}", "-o", "setup", "-o", "lint", "-o", "type"]
    variables = os.environ | {"CALLS": str(log), "FIRST_CODE": str(first), "AGAIN_CODE": str(again)}
    variables = {name: value for name, value in variables.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    done = subprocess.run(words, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60)
    assert (done.returncode == 0) is passes, done.stdout + done.stderr
    runs = [line for line in log.read_text().splitlines() if line.startswith("-m pytest")]
    kinds = ["again" if "--last-failed" in run else "not alone" if "not alone" in run else "alone" for run in runs]
    assert kinds == calls
