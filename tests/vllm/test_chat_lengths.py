"""vLLM counts the prompts of a chat as many tokens long as was asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchhydra.records import Records
from benchhydra.target import Target

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(240)]


def test_the_server_counts_what_was_asked_for(vllm_url: str, tiny: Target, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchhydra", "engine=attach", f"engine.base_url={vllm_url}", "api=chat"]
    command += ["model=custom", f"model.id={tiny.served_name}", f"model.tokenizer={tiny.tokenizer}", "tracking=none"]
    command += ["dataset.prompt_tokens=32", "dataset.output_tokens=4", "dataset.lengths=templated"]
    command += ["num_prompts=10", "qps=20", "script.warmup_requests=0", "script.fail_on=never"]
    subprocess.run([*command, f"hydra.run.dir={tmp_path / 'run'}"], cwd=tmp_path, check=True, timeout=120)
    rows = Records.read(tmp_path / "run" / "records.parquet")
    assert rows.prompt_tokens.tolist() == rows.asked_prompt_tokens.tolist() == [32] * 10
