"""Examples of docs/extending.md as files of a user's own, outside the package."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.examples import install

from benchhydra import registry

ImportPlugin = Callable[[str], ModuleType]


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's directory with an API and a load."""
    directory = tmp_path_factory.mktemp("user")
    install(directory, "tokenize", "chains")
    return directory


@pytest.fixture(params=["working directory", "PYTHONPATH"])
def import_plugin(
    request: pytest.FixtureRequest, plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ImportPlugin]:
    """Import a module of ``benchhydra_plugins``, found in one of the two ways, and forget it after the test."""
    registry.discover()
    monkeypatch.setattr(registry, "_options", dict(registry._options))
    if request.param == "PYTHONPATH":
        monkeypatch.setenv("PYTHONPATH", str(plugins))
    else:
        monkeypatch.chdir(plugins)
    monkeypatch.syspath_prepend(plugins)
    yield lambda name: importlib.import_module(f"{registry.PLUGIN_NAMESPACE}.{name}")
    for name in [name for name in sys.modules if name.split(".")[0] == registry.PLUGIN_NAMESPACE]:
        del sys.modules[name]
