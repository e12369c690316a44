"""A dataclass in the right folder is an option: of our own folders, and of a folder of the user's."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import cloudpickle  # type: ignore[import-untyped]
import pytest
from hydra.core.config_store import ConfigStore

from benchhydra import registry
from benchhydra.errors import ConfigError
from benchhydra.registry import check_choices, knob, option, option_name

LOAD = '''
    """A load of the user's own."""
    import numpy as np
    from benchhydra.loads import LoadShape
    from benchhydra.registry import knob, option


    @option("load", "{name}")
    class Pairs(LoadShape):
        """Two requests at a time, of the user's own."""

        gap_s: float = knob(0.5, "between pairs", unit="s")

        def send_times_s(self, count, rng, recorded_s=None):
            return np.repeat(np.arange(count), 2)[:count] * self.gap_s
'''


@pytest.fixture(autouse=True)
def options_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.discover()
    monkeypatch.setattr(registry, "_options", dict(registry._options))


@pytest.fixture
def plugins(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "benchhydra_plugins"
    directory.mkdir()
    yield directory


def write(path: Path, text: str) -> None:
    path.write_text(dedent(text), encoding="utf-8")


def run(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchhydra", *words]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120)


def test_a_users_option_composes_without_a_yaml_file(plugins: Path, tmp_path: Path) -> None:
    write(plugins / "pairs.py", LOAD.format(name="pairs"))
    ran = run(tmp_path, "load=pairs", "load.gap_s=0.25", "engine=fake", "--cfg", "job")
    assert ran.returncode == 0, ran.stderr
    assert "gap_s: 0.25" in ran.stdout
    assert "pairs, poisson" in run(tmp_path, "--help").stdout
    assert "pairs  " in run(tmp_path, "help", "load").stdout
    assert "load.gap_s" in run(tmp_path, "options", "load=pairs").stdout
    assert "did you mean load.gap_s?" in run(tmp_path, "load=pairs", "load.gap=1").stderr


def test_private_modules_are_not_imported(plugins: Path, tmp_path: Path) -> None:
    write(plugins / "_broken.py", "raise RuntimeError")
    assert run(tmp_path, "options", "qps").returncode == 0


def test_a_name_that_is_taken_is_refused(plugins: Path, tmp_path: Path) -> None:
    write(plugins / "mine.py", LOAD.format(name="poisson"))
    ran = run(tmp_path, "engine=fake", "num_prompts=2")
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: two options are called load=poisson: benchhydra.loads.poisson and ")


def test_two_classes_of_one_name_are_refused() -> None:
    @option("load", "mine")
    class First:
        """The first."""

    with pytest.raises(ConfigError, match="two options are called load=mine"):

        @option("load", "mine")
        class Second:
            """The second."""

    assert registry.options("load")["mine"] is First


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(ConfigError, match="no such config group: 'lod'") as refused:
        option("lod", "mine")
    assert "load" in refused.value.hint


def test_discovering_twice_changes_nothing() -> None:
    before = dict(registry._options)
    registry.discover()
    assert registry._options == before


@pytest.mark.parametrize("group", registry.GROUPS)
def test_every_option_is_stored_for_hydra(group: str) -> None:
    store = ConfigStore.instance()
    for name, cls in registry.options(group).items():
        assert store.load(f"schema/{group}/{name}.yaml").node._metadata.object_type is cls
        has_yaml = (registry.CONF_DIR / group / f"{name}.yaml").exists()
        assert (f"{name}.yaml" in store.repo.get(group, {})) is not has_yaml


def test_knobs_do_not_share_their_lists() -> None:
    @option("load", "lists")
    class Lists:
        """Two defaults."""

        names: list[str] = knob(["a"], "names")

    first, second = Lists(), Lists()
    first.names.append("b")
    assert second.names == ["a"]
    assert option_name(first) == "lists"


def test_choices_are_named_by_the_key_that_is_typed() -> None:
    @option("load", "chosen")
    class Chosen:
        """One of two."""

        order: str = knob("up", "which way", choices=("up", "down"))

    check_choices(Chosen())
    with pytest.raises(ConfigError, match=r"load\.order='left' is not allowed") as refused:
        check_choices(Chosen(order="left"))
    assert refused.value.hint == "one of up, down"


def test_an_unregistered_class_has_no_option_name() -> None:
    with pytest.raises(ConfigError, match="object is not a registered option"):
        option_name(object())


def in_a_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


CHOSEN = {
    ("script", "serving"),
    ("dataset", "copying"),
    ("load", "burst"),
    ("api", "chat"),
    ("engine", "vllm"),
    ("search", "grid"),
    ("tracking", "none"),
}
#: Options on which the HTTP load, its warm-up and the calibration build.
BUILT_UPON = {("api", "completions"), ("dataset", "synthetic"), ("load", "poisson"), ("load", "sessions")}


def test_only_the_chosen_options_are_imported_to_compose() -> None:
    words = [f"{group}={name}" for group, name in sorted(CHOSEN)]
    code = f"""
        import json, sys
        from benchhydra.cli import run
        words = {[*words, "model=tiny", "qps=5", "--cfg", "job"]}
        sys.stdout, stdout = sys.stderr, sys.stdout
        sys.argv[1:] = words
        assert run(words) == 0
        json.dump(sorted(sys.modules), stdout)
    """
    imported = set(json.loads(in_a_new_process(code)))
    modules = {option: cls.__module__ for group in registry.GROUPS for option, cls in options_of(group)}
    assert {option for option, module in modules.items() if module in imported} == CHOSEN | BUILT_UPON
    assert not {"benchhydra.metrics.latency", "benchhydra.validity.client", "benchhydra.probes.gpu"} & imported


def options_of(group: str) -> list[tuple[tuple[str, str], type]]:
    return [((group, name), cls) for name, cls in registry.options(group).items()]


def test_every_option_is_loaded_when_hydra_asks_for_it() -> None:
    code = """
        import json, sys
        from hydra.core.config_store import ConfigStore
        from benchhydra import config, registry
        config.register()
        stored = [(g, file) for g, files in ConfigStore.instance().repo["schema"].items() for file in sorted(files)]
        before = set(sys.modules)
        types = [ConfigStore.instance().load(f"schema/{g}/{file}").node._metadata.object_type for g, file in stored]
        names = [[g, file.removesuffix(".yaml"), cls.__module__] for (g, file), cls in zip(stored, types)]
        json.dump([names, [*before]], sys.stdout)
    """
    loaded, before = json.loads(in_a_new_process(code))
    options = {option: cls.__module__ for group in registry.GROUPS for option, cls in options_of(group)}
    assert {(group, name): module for group, name, module in loaded} == options
    own_packages = {*registry.GROUPS.values()}
    assert not {module for module in options.values() if module not in own_packages} & {*before}


def test_a_stored_option_can_be_sent_to_a_worker() -> None:
    node = ConfigStore.instance().repo["schema"]["engine"]["vllm.yaml"]
    received = copy.copy(cloudpickle.loads(cloudpickle.dumps(node)))
    assert received.node._metadata.object_type is registry.option_class("engine", "vllm")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("load.start_qps=1",), "did you mean load=ramp load.start_qps"),
        (("+load.stages=1",), "no such key: load.stages"),
        (("load=concurrency", "qps=5"), "qps=5 has no effect on load=concurrency"),
        (("engine=vlm",), "did you mean engine=vllm?"),
    ],
)
def test_options_that_are_not_imported_are_known_to_hints(words: tuple[str, ...], text: str, tmp_path: Path) -> None:
    assert text in run(tmp_path, "engine=fake", *words, "--cfg", "job").stderr


def test_any_key_may_be_set_in_the_dictionaries_of_options_that_are_not_imported() -> None:
    words = ["engine.headers.a=b", "dataset.columns.prompt=b", "search.space={seed:[1]}", "load.qps.a=1"]
    printed = in_a_new_process(f"from benchhydra.overrides import grammar; print(*grammar.rewrite({words}))")
    assert printed.split() == [
        "++engine.headers.a=b",
        "++dataset.columns.prompt=b",
        "++search.space={seed:[1]}",
        words[3],
    ]
