"""The Dockerfiles: pinned bases, no root, and files that exist. docs/containers.md says that they were not built."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.docs.blocks import DOCS, ROOT

DOCKERFILES = sorted((ROOT / "containers").glob("*.Dockerfile"))


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) of each line, without comments, continued lines joined."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in text.splitlines() if line.strip()]


def values(path: Path, name: str) -> list[str]:
    return [arguments for instruction, arguments in instructions(path) if instruction == name]


def test_there_is_one_for_cpu_and_one_for_gpu() -> None:
    assert [path.stem for path in DOCKERFILES] == ["cpu", "gpu"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_bases_have_a_version(path: Path) -> None:
    defaults = dict(argument.split("=") for argument in values(path, "ARG"))
    for base in values(path, "FROM"):
        image = re.sub(r"\$\{(\w+)\}", lambda match: defaults[match[1]], base.split()[0])
        assert re.search(r":v?\d+\.\d+\.\d+", image), image


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_it_ends_as_another_user_and_starts_benchhydra(path: Path) -> None:
    user = values(path, "USER")[-1]
    assert user.isdecimal() and user != "0"
    assert values(path, "ENTRYPOINT") == ['["tini", "--", "benchhydra"]']
    assert values(path, "HEALTHCHECK") == ["NONE"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_packages_leave_nothing_behind(path: Path) -> None:
    scripts = " ".join(values(path, "RUN"))
    assert scripts.count("pip install") == scripts.count("pip install --no-cache-dir")
    assert scripts.count("apt-get install") == scripts.count("--no-install-recommends")
    assert "rm -rf /var/lib/apt/lists/*" in scripts


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_what_is_copied_exists_and_is_not_ignored(path: Path) -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for arguments in values(path, "COPY"):
        if arguments.startswith("--from"):
            continue
        for source in arguments.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] in allowed, source


def test_the_key_that_the_gpu_image_changes_is_there() -> None:
    [expression] = re.findall(r"s\|(\^[^|]+)\|", (ROOT / "containers/gpu.Dockerfile").read_text())
    assert re.search(expression, (ROOT / "conf/engine/vllm.yaml").read_text(), re.M)


def test_the_page_says_that_they_were_not_built() -> None:
    assert "not built" in (DOCS / "containers.md").read_text(encoding="utf-8")
