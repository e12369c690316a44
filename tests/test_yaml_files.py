"""A YAML file whose anchors name a billion values is refused at once, wherever it is read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from benchhydra.analysis.thresholds import read_thresholds
from benchhydra.cli import program
from benchhydra.commands import _sides, suite
from benchhydra.errors import ConfigError
from benchhydra.yaml_files import load_yaml

LEVELS = [
    f"{name}: &{name} [{','.join([f'*{below}'] * 9)}]" for below, name in zip("abcdefgh", "bcdefghi", strict=True)
]
BOMB = "\n".join(["id: x", "a: &a [x,x,x,x,x,x,x,x,x]", *LEVELS, ""])


@pytest.fixture
def bomb(tmp_path: Path) -> Path:
    path = tmp_path / "conf" / "model" / "bomb.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(BOMB)
    return path


def test_every_reader_of_yaml_refuses_it(bomb: Path) -> None:
    readers: list[Callable[[Path], object]] = [load_yaml, _sides.read_side]
    readers += [lambda path: suite.read_suite(path, []), lambda path: read_thresholds(str(path))]
    start_s = time.monotonic()
    for read in readers:
        with pytest.raises(ConfigError, match=r"bomb\.yaml: with its anchors expanded it has more than 100,000 values"):
            read(bomb)
    assert time.monotonic() - start_s < 60  # expanded, it would fill the memory


def test_hydra_refuses_it(bomb: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_handle_signals", lambda: None)
    words = ["--config-dir", str(bomb.parents[1]), "model=bomb", "engine=fake", "sweep.plan=true"]
    for mode in ([], ["-m"]):
        GlobalHydra.instance().clear()
        assert program.run([*mode, *words]) == 1
        assert "with its anchors expanded it has more than 100,000 values" in capfd.readouterr().err
    GlobalHydra.instance().clear()


def test_merged_maps_count_too_and_a_loop_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: &a [*a]\n")
    with pytest.raises(ConfigError, match="an anchor contains itself"):
        load_yaml(path)
    merges = "".join(f"m{n}: &m{n}\n  <<: [{','.join([f'*m{n - 1}'] * 9)}]\n" for n in range(1, 9))
    path.write_text(f"m0: &m0 {{k: 1}}\n{merges}")
    with pytest.raises(ConfigError, match="more than 100,000 values"):
        load_yaml(path)


def test_usual_anchors_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("\ufeffbase: &base {qps: 1}\nother: {<<: *base, seed: 2}\nlist: [*base, *base]\n")
    assert load_yaml(path)["other"] == {"qps": 1, "seed": 2}
