"""What an interpreter's vLLM is, from source files of several ages, without importing it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "src/benchhydra/engine_side/engine_facts.py"
OLD = """
class EngineArgs:
    model: str
    max_num_seqs: int = 256
    CONSTANT = 3

    def add(parser):
        parser.add_argument("--max-num-seqs", type=int)
        parser.add_argument("--sparsity", "-s")
"""
CLI = """
class FrontendArgs:
    host: str | None = None
    enable_auto_tool_choice: bool = False
"""


def ask(path: Path) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-S", str(PROGRAM)],
        capture_output=True,
        check=True,
        text=True,
        env={"PYTHONPATH": str(path)},
        timeout=120,
    )
    facts: dict[str, object] = json.loads(done.stdout)
    return facts


def test_flags_are_found_without_importing(tmp_path: Path) -> None:
    package = tmp_path / "vllm"
    for name, text in {"engine/arg_utils.py": OLD, "entrypoints/openai/cli_args.py": CLI}.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "torch/version.py").write_text("cuda: Optional[str] = '12.1'\n")
    facts = ask(tmp_path)
    assert facts["flags"] == ["enable_auto_tool_choice", "host", "max_num_seqs", "model", "sparsity"]
    assert (facts["vllm"], facts["cuda"]) == ("unknown", "12.1")


def test_without_vllm_only_python_is_known(tmp_path: Path) -> None:
    assert ask(tmp_path).keys() == {"python"}


@pytest.mark.vllm
def test_the_installed_vllm_has_its_flags() -> None:
    done = subprocess.run([sys.executable, str(PROGRAM)], capture_output=True, check=True, text=True)
    facts = json.loads(done.stdout)
    assert facts["vllm"][0].isdigit()
    assert {"max_num_seqs", "max_model_len", "tensor_parallel_size", "served_model_name", "api_key"} <= {
        *facts["flags"]
    }
