"""The config groups and their options, with one line of help on each."""

from __future__ import annotations

from pathlib import Path

from benchhydra import registry

#: Groups in the order of the help; others in conf/ follow.
ORDER = (
    *("model", "dataset", "script", "api", "load", "engine", "gpus", "sparsity"),
    *("search", "tracking", "launcher"),
)
#: Folders of conf/ that are not config groups: subcommands read them, or they hold settings of one machine.
NOT_CHOSEN = ("gate", "local", "suite")


def group_names() -> list[str]:
    """All config groups. ``registry.discover`` must have been called."""
    folders = sorted(path.name for path in registry.CONF_DIR.iterdir() if path.is_dir())
    names = dict.fromkeys((*ORDER, *registry.GROUPS, *folders))
    return [name for name in names if name not in NOT_CHOSEN and group_options(name)]


def declared_options() -> dict[str, list[str]]:
    """Group -> the names of its options, read from files; ``registry.discover`` need not have been called."""
    folders = sorted(path.name for path in registry.CONF_DIR.iterdir() if path.is_dir())
    declared = {group: registry.declared_names(group) for group in dict.fromkeys((*ORDER, *registry.GROUPS, *folders))}
    files = {group: [path.stem for path in (registry.CONF_DIR / group).glob("*.yaml")] for group in declared}
    names = {group: sorted({*files[group], *declared[group]}) for group in declared if group not in NOT_CHOSEN}
    return {group: options for group, options in names.items() if options}


def group_options(group: str) -> dict[str, str]:
    """Option -> its line of help: the first comment of its YAML file, or the first line of its class docstring."""
    classes = {name: first_line(cls.__doc__) for name, cls in registry.options(group).items()}
    files = sorted((registry.CONF_DIR / group).glob("*.yaml"))
    return dict(sorted((classes | {path.stem: first_comment(path) for path in files}).items()))


def first_line(docstring: str | None) -> str:
    """The summary line of a docstring."""
    return (docstring or "").strip().partition("\n")[0]


def first_comment(path: Path) -> str:
    """The text of a YAML file's first comment that is not a ``@package`` directive; empty if it has none."""
    comments = (line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    line = next((line for line in comments if not line.startswith("# @package")), "")
    return line.lstrip("# ")
