"""A reader that goes away ends a program quietly: of ``benchhydra ... | head``, and of helpers of a killed process."""

import json
import os
import subprocess
import sys

import pytest

ORDER = json.dumps({"do": "prepare", "option": "none", "settings": {}})
HELPERS = {
    "benchhydra.tracking.outbox.logging_program": f"1 {ORDER}\n",
    "benchhydra.probes.helper": json.dumps({"do": "end"}) + "\n",
}


def without_reader(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a module whose stdout is a pipe that nobody reads."""
    readable, writable = os.pipe()
    os.close(readable)
    try:
        return subprocess.run(
            [sys.executable, "-m", *words], input=given, stdout=writable, stderr=subprocess.PIPE, text=True, timeout=120
        )
    finally:
        os.close(writable)


@pytest.mark.parametrize("words", [("metrics",), ("options", "engine=fake"), ("--help",)])
def test_a_command_without_a_reader_is_quiet(words: tuple[str, ...]) -> None:
    assert without_reader("benchhydra", *words).stderr == ""


@pytest.mark.parametrize("module", HELPERS)
def test_a_helper_of_a_killed_process_is_quiet(module: str) -> None:
    assert without_reader(module, given=HELPERS[module]).stderr == ""
