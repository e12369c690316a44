"""The workflows ask for what exists: inputs, suites, commands, options; nothing from outside runs as a script."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchhydra import commands
from benchhydra.registry import CONF_DIR

WORKFLOWS = Path(__file__).parents[1] / ".github/workflows"
FILES = ("test.yml", "benchmark.yml", "nightly.yml", "pages.yml", "release.yml")


def load(name: str) -> dict[str, Any]:
    """With texts only: YAML 1.1 takes the key ``on`` for a boolean."""
    data: dict[str, Any] = yaml.load((WORKFLOWS / name).read_text(), Loader=yaml.BaseLoader)
    return data


def steps(name: str) -> Iterator[dict[str, Any]]:
    for job in load(name)["jobs"].values():
        yield from job.get("steps", ())


def scripts() -> list[Any]:
    found = [(name, step["run"]) for name in FILES for step in steps(name) if "run" in step]
    return [pytest.param(script, id=f"{name}-{i}") for i, (name, script) in enumerate(found)]


def test_all_workflow_files_are_tested() -> None:
    assert {path.name for path in WORKFLOWS.iterdir()} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_every_action_is_pinned_and_every_job_has_few_rights_and_an_end(name: str) -> None:
    workflow = load(name)
    assert "permissions" in workflow
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job or job["uses"].startswith("./")
    for step in steps(name):
        if "uses" in step:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", step["uses"]), step["uses"]


def test_test_yml_runs_make_test() -> None:
    assert "make test" in [step.get("run") for step in steps("test.yml")]


def test_the_benchmark_workflow_takes_the_same_by_hand_and_by_call() -> None:
    triggers = load("benchmark.yml")["on"]
    by_hand, by_call = (triggers[kind]["inputs"] for kind in ("workflow_dispatch", "workflow_call"))
    assert by_hand == by_call
    assert by_hand.keys() >= {"label", "timeout", "gitref", "suite", "config_list", "python", "push_results"}
    used = set(re.findall(r"inputs\.(\w+)", (WORKFLOWS / "benchmark.yml").read_text()))
    assert used == by_hand.keys()


def test_the_nightly_workflow_gives_inputs_that_exist() -> None:
    inputs = load("benchmark.yml")["on"]["workflow_call"]["inputs"]
    [job] = load("nightly.yml")["jobs"].values()
    assert job["uses"] == "./.github/workflows/benchmark.yml"
    assert set(job["with"]) <= inputs.keys()
    assert {name for name, wanted in inputs.items() if wanted.get("required") == "true"} <= set(job["with"])


def test_the_suites_that_are_named_exist() -> None:
    there = {path.stem for path in (CONF_DIR / "suite").glob("*.yaml")}
    inputs = load("benchmark.yml")["on"]["workflow_call"]["inputs"]
    assert set(inputs["suite"]["description"].partition(": ")[2].split(", ")) == there
    [job] = load("nightly.yml")["jobs"].values()
    assert set(re.findall(r"[&|] '(\w+)'", job["with"]["suite"])) == {"nightly", "weekly"} <= there


def test_the_weekly_schedule_is_recognized() -> None:
    nightly = load("nightly.yml")
    crons = [entry["cron"] for entry in nightly["on"]["schedule"]]
    [job] = nightly["jobs"].values()
    assert re.findall(r"schedule == '([^']+)'", job["with"]["suite"]) == [crons[1]]


@pytest.mark.parametrize("script", scripts())
def test_a_script_parses_and_takes_no_text_from_outside(script: str) -> None:
    assert "${{" not in script
    subprocess.run(["bash", "-n", "-c", script], check=True, timeout=60)


@pytest.mark.parametrize("script", scripts())
def test_the_commands_in_a_script_exist_with_their_options(script: str) -> None:
    for line in script.splitlines():
        if not line.strip().startswith("benchhydra "):
            continue
        name, *words = shlex.split(line.partition("||")[0])[1:]
        assert name in commands.command_names()
        parser = argparse.ArgumentParser(exit_on_error=False)
        commands.load_command(name).add_arguments(parser)
        parser.parse_intermixed_args([word for word in words if not word.startswith("${")])


def test_only_the_main_branch_publishes_the_site() -> None:
    workflow = load("pages.yml")
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    assert "permissions" not in build and workflow["permissions"] == {"contents": "read"}
    assert publish["if"] == "github.ref == 'refs/heads/main'"
    assert publish["needs"] == "build"


def release_check(tag: str) -> int:
    """The exit code of the step that compares the tag with the version."""
    [script] = [step["run"] for step in steps("release.yml") if step.get("name", "").startswith("Compare")]
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "TAG": tag}
    command = ["bash", "-e", "-c", script]
    return subprocess.run(command, env=environment, cwd=WORKFLOWS.parents[1], check=False, timeout=60).returncode


def test_a_release_has_the_version_of_its_tag() -> None:
    version = tomllib.loads((WORKFLOWS.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert release_check(f"v{version}") == 0
    assert release_check("v99.0.0") == 1


def test_a_release_is_published_from_a_tag_without_a_password() -> None:
    publish = load("release.yml")["jobs"]["publish"]
    assert publish["if"] == "github.ref_type == 'tag'"
    assert publish["permissions"] == {"id-token": "write"}
    [upload] = [step for step in publish["steps"] if "pypi-publish" in step["uses"]]
    assert "with" not in upload
    scripts = [step["run"] for step in steps("release.yml") if "run" in step]
    assert any("twine check --strict" in script for script in scripts)


def ran(**environment: str) -> list[str]:
    """The words of the command that the workflow's step "Run" starts."""
    [script] = [step["run"] for step in steps("benchmark.yml") if step.get("name") == "Run"]
    told = f"set -eu; benchhydra() {{ printf '%s\\n' \"$@\"; }}\n{script}"
    known = {"PATH": "/usr/bin:/bin", "SUITE": "minimal", "CONFIG_LIST": "", "OVERRIDES": "", **environment}
    return subprocess.run(
        ["bash", "-c", told], env=known, capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()


def test_the_run_step_calls_the_suite_or_run_config() -> None:
    assert ran() == ["suite", "minimal", "-o", "out"]
    overrides = "model=llama2 'description=a b' x=$(echo,)"
    assert ran(OVERRIDES=overrides)[4:] == ["model=llama2", "description=a b", "x=$(echo,)"]
    assert ran(CONFIG_LIST="list.txt", OVERRIDES="a=1") == ["run-config", "list.txt", "-o", "out", "a=1"]


def gated(archive: Path, code: int) -> int:
    """The exit code of the step "Gate", where the gate itself ends with ``code``."""
    [script] = [step["run"] for step in steps("benchmark.yml") if step.get("name") == "Gate"]
    told = f"set -e; benchhydra() {{ return {code}; }}\n{script}"
    known = {"PATH": "/usr/bin:/bin", "ARCHIVE": str(archive)}
    return subprocess.run(["bash", "-c", told], env=known, check=False, timeout=60).returncode


def test_the_gate_step_passes_without_history(tmp_path: Path) -> None:
    assert gated(tmp_path, 1) == 0
    (tmp_path / "result.json").touch()
    assert {code: gated(tmp_path, code) for code in (0, 1, 3, 4, 5)} == {0: 0, 1: 1, 3: 3, 4: 0, 5: 5}
