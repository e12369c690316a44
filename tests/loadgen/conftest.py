"""The plugins of ``plugins/``: files of a user's own, outside the package."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from benchhydra import registry

PLUGINS = Path(__file__).parent / "plugins"

ImportPlugin = Callable[[str], ModuleType]


@pytest.fixture(params=["working directory", "PYTHONPATH"])
def import_plugin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImportPlugin]:
    """Import a module of ``benchhydra_plugins``, found in one of the two ways, and forget it after the test."""
    monkeypatch.setattr(registry, "_options", dict(registry._options))
    if request.param == "PYTHONPATH":
        monkeypatch.setenv("PYTHONPATH", str(PLUGINS))
    else:
        monkeypatch.chdir(PLUGINS)
    monkeypatch.syspath_prepend(PLUGINS)
    yield lambda name: importlib.import_module(f"{registry.PLUGIN_NAMESPACE}.{name}")
    for name in [name for name in sys.modules if name.split(".")[0] == registry.PLUGIN_NAMESPACE]:
        del sys.modules[name]
