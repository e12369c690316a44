"""The example files of docs/extending.md: the one copy that there is, for every test that runs one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchhydra.registry import PLUGIN_NAMESPACE

DOCUMENT = Path(__file__).parents[1] / "docs" / "extending.md"
EXAMPLE = re.compile(rf"`{PLUGIN_NAMESPACE}/(\w+)\.py`:\n\n```python\n(.*?)```", re.DOTALL)


def examples() -> dict[str, str]:
    """Every example: its module's name and its text."""
    return dict(EXAMPLE.findall(DOCUMENT.read_text(encoding="utf-8")))


def install(directory: Path, *names: str) -> Path:
    """Put examples where a user puts them: into a folder of plugins in ``directory``. Returns the folder."""
    folder = directory / PLUGIN_NAMESPACE
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.py").write_text(examples()[name], encoding="utf-8")
    return folder


def benchhydra(directory: Path, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run the program in a user's directory, where it finds the plugins."""
    environment = {key: value for key, value in os.environ.items() if key != "GITHUB_STEP_SUMMARY"}
    command = [sys.executable, "-m", "benchhydra", *words]
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
