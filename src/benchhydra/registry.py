"""What can be added by adding a file: options of the config groups, metrics, rules, probes, renderers.

They are in modules of the packages below, and of the namespace package ``benchhydra_plugins``, where users put theirs.
``store_options()`` makes every ``@option`` dataclass known to Hydra's ConfigStore as ``schema/<group>/<name>``. An
option without a YAML file in ``conf/<group>/`` is stored as ``<group>/<name>`` too, so that one Python file is enough.

A run needs 7 of the 47 options, so ``store_options()`` imports none of the package's own: it reads their groups and
names from the source files, and an option's module is imported when Hydra or ``options`` asks for the class.
``discover()`` imports all of them.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, dataclass_transform

from benchhydra.errors import ConfigError

T = TypeVar("T")

PACKAGE_DIR = Path(__file__).resolve().parent
#: The YAML tree: inside the package in a wheel, at the top of a checkout otherwise.
CONF_DIR = PACKAGE_DIR / "conf" if (PACKAGE_DIR / "conf").is_dir() else PACKAGE_DIR.parents[1] / "conf"
#: Group whose options are classes -> the package that holds them.
GROUPS = {
    "script": "benchhydra.scripts",
    "dataset": "benchhydra.datasets",
    "load": "benchhydra.loads",
    "api": "benchhydra.client.apis",
    "engine": "benchhydra.engines",
    "tracking": "benchhydra.tracking",
    "search": "benchhydra.search",
}
#: Packages whose modules declare something else: metrics, rules of the verdict, probes.
DECLARING_PACKAGES = ("benchhydra.metrics", "benchhydra.validity", "benchhydra.probes")
PLUGIN_NAMESPACE = "benchhydra_plugins"
DECLARATION = re.compile(r"""^@(?:\w+\.)?option\(\s*["'](\w+)["'],\s*["'](\w+)["']""", re.MULTILINE)

#: (group, name) -> the class of an option whose module has been imported.
_options: dict[tuple[str, str], type[Any]] = {}


@dataclass_transform(field_specifiers=(dataclasses.field,), kw_only_default=True)
def option(group: str, name: str) -> Callable[[type[T]], type[T]]:
    """Make a class a dataclass and an option ``name`` of config group ``group``."""
    if group not in GROUPS:
        raise ConfigError(f"@option: no such config group: {group!r}", hint=f"one of {', '.join(GROUPS)}")

    def register(cls: type[T]) -> type[T]:
        config = dataclasses.dataclass(kw_only=True)(cls)
        other = _options.get((group, name), config)
        if (other.__module__, other.__qualname__) != (config.__module__, config.__qualname__):
            raise _two_options(group, name, other.__module__, config.__module__)
        _options[group, name] = config
        return config

    return register


def _two_options(group: str, name: str, module: str, other: str) -> ConfigError:
    return ConfigError(f"two options are called {group}={name}: {module} and {other}")


def knob(default: Any, doc: str, *, unit: str = "", choices: tuple[str, ...] = ()) -> Any:
    """A config field: its default (a list or dict is copied), its meaning, its unit and, for texts, what is allowed."""
    metadata = {"doc": doc, "unit": unit, "choices": choices}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def check_choices(config: Any) -> None:
    """Raise ConfigError where a field declared with ``choices`` holds something else."""
    for field in dataclasses.fields(config):
        choices = field.metadata.get("choices", ())
        value = getattr(config, field.name)
        if choices and value not in choices:
            name = f"{_group_of(config)}.{field.name}"
            raise ConfigError(f"{name}={value!r} is not allowed", hint=f"one of {', '.join(map(str, choices))}")


def _group_of(config: Any) -> str:
    """The config group of an object; of a class that is no option, its own name in lower case."""
    return next((group for (group, _), cls in _options.items() if cls is type(config)), type(config).__name__.lower())


def option_name(config: Any) -> str:
    """The name under which a config object's class is registered: ``poisson`` for a ``Poisson(...)``."""
    for (_, name), cls in _options.items():
        if cls is type(config):
            return name
    raise ConfigError(f"{type(config).__name__} is not a registered option")


def options(group: str) -> dict[str, type[Any]]:
    """The dataclasses of a polymorphic group, by option name; imports all of them."""
    _import_group(group)
    return {name: cls for (of, name), cls in sorted(_options.items()) if of == group}


def each_option(group: str) -> Iterator[type[Any]]:
    """The dataclasses of a polymorphic group, those first that are imported; a further one is imported when reached."""
    imported = [cls for (of, _), cls in _options.items() if of == group]
    yield from imported
    for name in sorted(name for of, name in _own_declarations() if of == group):
        cls = option_class(group, name)
        if cls not in imported:
            yield cls


def option_class(group: str, name: str) -> type[Any]:
    """The dataclass of one option, whose module is imported if needed. Raises KeyError if no class has this name."""
    if (group, name) not in _options:
        importlib.import_module(_own_declarations()[group, name])
    return _options[group, name]


def has_class(group: str, name: str) -> bool:
    """Whether an option is a class, not only a YAML file with another class's keys. Imports nothing."""
    return (group, name) in _options or (group, name) in _own_declarations()


def declared_names(group: str) -> set[str]:
    """The names of a group's classes, read from ``@option(GROUP, NAME)`` in the source files without importing them."""
    own = {name for of, name in _own_declarations() if of == group}
    plugins = [path for folder in plugin_folders() for path in _public_files(folder)]
    return own | {name for path in plugins for of, name in _declarations(path) if of == group}


def _public_files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.py") if not path.name.startswith("_")]


@cache
def _own_declarations() -> dict[tuple[str, str], str]:
    """(group, name) -> module of every option of this package. Raises ConfigError for two of one name."""
    modules: dict[tuple[str, str], str] = {}
    for package in GROUPS.values():
        folder = PACKAGE_DIR.joinpath(*package.split(".")[1:])
        for path in sorted({folder / "__init__.py", *_public_files(folder)}):
            module = package if path.stem == "__init__" else f"{package}.{path.stem}"
            for group, name in _declarations(path):
                if modules.setdefault((group, name), module) != module:
                    raise _two_options(group, name, modules[group, name], module)
    return modules


def _declarations(path: Path) -> list[tuple[str, str]]:
    """The groups and names of the options that a source file declares."""
    text = path.read_text(encoding="utf-8")
    return DECLARATION.findall(text) if "option(" in text else []  # most files have none; the expression is slower


def plugin_folders() -> list[Path]:
    """The folders of the namespace package in which users put their options."""
    spec = importlib.util.find_spec(PLUGIN_NAMESPACE)
    return [Path(folder) for folder in (spec.submodule_search_locations if spec else None) or ()]


def discover() -> None:
    """Import every option module, and all that declare metrics, rules and probes; fill Hydra's ConfigStore.

    Doing it twice changes nothing.
    """
    for package in (*GROUPS.values(), *DECLARING_PACKAGES):
        import_modules(package)
    store_options()


def store_options() -> None:
    """Fill Hydra's ConfigStore with the schemas of all options. Of those of this package, no module is imported."""
    import_plugins()
    own = _own_declarations()
    for group, name in {**own, **_options}:
        cls = _options.get((group, name))
        if cls is not None and own.get((group, name), cls.__module__) != cls.__module__:
            raise _two_options(group, name, own[group, name], cls.__module__)
        _store_schema(f"schema/{group}", name, cls)
        if not (CONF_DIR / group / f"{name}.yaml").exists():
            _store_schema(group, name, cls)


def _store_schema(group: str, name: str, cls: type[Any] | None) -> None:
    """Do what ``ConfigStore.store`` does, except that the option's node is made when Hydra loads it."""
    from hydra.core.config_store import ConfigStore  # start-up time: client processes need @option, and not Hydra

    folder = ConfigStore.instance().repo
    for part in group.split("/"):
        folder = folder.setdefault(part, {})
    folder[f"{name}.yaml"] = _schema_node_class()(
        name=f"{name}.yaml", node=cls, group=group, package=None, provider=None
    )


@cache
def _schema_node_class() -> type[Any]:
    """The class of an option's entry in the ConfigStore; ``node`` is the option's class, None if it is not imported.

    To import all options and to make their nodes takes a tenth of the start, and a point needs a fifth of them.
    """
    from hydra.core.config_store import ConfigNode  # start-up time: as above
    from omegaconf import OmegaConf

    class SchemaNode(ConfigNode):
        def __copy__(self) -> ConfigNode:  # ConfigStore.load returns a copy
            _, _, group = (self.group or "").rpartition("/")
            node = OmegaConf.structured(self.node or option_class(group, self.name.removesuffix(".yaml")))
            return ConfigNode(name=self.name, node=node, group=self.group, package=None, provider=None)

        def __deepcopy__(self, memo: dict[int, Any]) -> ConfigNode:  # Hydra copies the whole store to compose a config
            return self

    return SchemaNode


def import_plugins() -> None:
    """Import the modules that users have put into the namespace package ``benchhydra_plugins``, if there are any."""
    if importlib.util.find_spec(PLUGIN_NAMESPACE):
        import_modules(PLUGIN_NAMESPACE)


@cache
def _import_group(group: str) -> None:
    if group in GROUPS:
        import_modules(GROUPS[group])


def import_modules(package: str) -> None:
    """Import a package and its modules, except those whose name starts with ``_``: what they declare is known then."""
    for name in _module_names(package):
        importlib.import_module(name)


def _module_names(package: str) -> Iterator[str]:
    module = importlib.import_module(package)
    yield package
    for info in pkgutil.iter_modules(getattr(module, "__path__", ())):
        if not info.name.startswith("_"):
            yield f"{package}.{info.name}"
