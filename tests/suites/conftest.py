"""The points that a command line spans, as the sweeper composes them, without starting anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from benchhydra.cli import program
from benchhydra.config import BenchConfig
from benchhydra.registry import option_name
from benchhydra.sweep.plan import check

#: Script, model, dataset, prompt tokens, output tokens, prompts, rate, sparsity, longest sequence, GPUs.
Point = tuple[Any, ...]
Span = Callable[[Sequence[str]], list[Point]]


def spanned(config: BenchConfig) -> Point:
    """A composed point; a length or a rate that its dataset or script does not read is None."""
    dataset, script = option_name(config.dataset), option_name(config.script)
    target = config.engine.target(config.model, config.sparsity, config.gpus)
    return (
        script,
        target.model,
        dataset,
        getattr(config.dataset, "prompt_tokens", None),
        config.dataset.output_tokens,
        config.num_prompts,
        config.qps if script == "serving" else None,
        target.sparsity,
        config.model.max_model_len,
        (config.gpus.device, config.gpus.count),
    )


@pytest.fixture
def span(monkeypatch: pytest.MonkeyPatch) -> Iterator[Span]:
    """Plans a command line's sweep on the fake engine, and returns its points."""
    seen: list[check.CheckedPoints] = []
    original = check.check_points

    def remember(*args: Any) -> check.CheckedPoints:
        seen.append(original(*args))
        return seen[-1]

    def plan(words: Sequence[str]) -> list[Point]:
        GlobalHydra.instance().clear()
        assert program.run([*words, "engine=fake", "sweep.plan=true"]) == 0
        checked = seen[-1]
        return [spanned(checked.configs[point.identity]) for point in checked.points]

    monkeypatch.setattr(check, "check_points", remember)
    monkeypatch.setattr(program, "_handle_signals", lambda: None)
    yield plan
    GlobalHydra.instance().clear()
