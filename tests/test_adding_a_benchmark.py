"""The documented way to add a benchmark works, from outside the package, with the file that the document shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from benchhydra.result import Result

DOCUMENT = Path(__file__).parents[1] / "docs" / "adding-a-benchmark.md"


def documented_file() -> str:
    found = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found.group(1)


def benchhydra(arguments: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchhydra", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120, env=dict(os.environ))


def test_one_file_outside_the_package_is_a_benchmark(tmp_path: Path) -> None:
    (tmp_path / "benchhydra_plugins").mkdir()
    (tmp_path / "benchhydra_plugins" / "health.py").write_text(documented_file(), encoding="utf-8")
    ran = benchhydra(
        ["-m", "script=health", "model=llama2,mistral", "script.checks=20", "engine=fake", "tracking=none"], tmp_path
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    results = [Result.read(path) for path in tmp_path.glob("outputs/sweeps/**/result.json")]
    assert len(results) == 2
    for result in results:
        assert result.script == "health"
        assert 0 < result.metrics["p99_health_ms"].value < 1000
        assert result.verdict == "VALID"
    assert "health" in benchhydra(["--help"], tmp_path).stdout
    assert "script.checks" in benchhydra(["options", "script=health"], tmp_path).stdout
