"""``benchhydra --help``: every group with its options, every subcommand, one line each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchhydra import commands, registry

USAGE = """\
benchhydra: benchmarks of LLM inference as composed experiments

usage: benchhydra KEY=VALUE ...       one point: benchhydra model=tiny qps=5 num_prompts=50
       benchhydra -m KEY=A,B ...      a sweep:   benchhydra -m model=llama2,mistral script=serving qps=1,5,10
       benchhydra SUBCOMMAND ...      benchhydra SUBCOMMAND --help says more
"""
EXAMPLES = """\
keys: qps, num_prompts, repeats, seed, description; engine.args.ANY_FLAG=value; GROUP.KEY=value of the options above.
      benchhydra options GROUP=OPTION lists an option's keys with units and defaults.

examples:
  benchhydra -m model=llama2,mistral script=serving qps=1,5,10 engine=fake num_prompts=5
  benchhydra -m qps=1,5 engine.args.max_num_seqs=64,128 sweep.plan=true      what would run; starts nothing
  benchhydra -m qps=1,5 repeats=3 sweep.order=interleaved
  benchhydra -m qps=1,5 sweep.resume=auto                                    goes on after a crash
  benchhydra model=custom model.id=HUB_ID engine.python=OTHER_VENV/bin/python

your own options: --config-dir DIR (YAML) or a module in a folder benchhydra_plugins on PYTHONPATH (Python).
HYDRA_FULL_ERROR=1 shows traces. --hydra-help says what Hydra itself can do (--cfg job, --shell-completion, ...).
"""
#: Groups in the order of the help; others in conf/ follow.
ORDER = ("model", "dataset", "script", "load", "engine", "gpus", "sparsity", "tracking", "launcher")


#: Folders of conf/ that are read by subcommands or by one machine alone: nobody chooses one by GROUP=OPTION.
NO_GROUPS = ("gate", "local", "suite")


def help_text() -> str:
    """The whole help. Options must have been discovered."""
    return "\n".join([USAGE, *_groups(), "subcommands:", *_subcommands(), "", EXAMPLES])


def group_names() -> list[str]:
    """All config groups."""
    inside = sorted(path.name for path in registry.CONF_DIR.iterdir() if path.is_dir())
    known = dict.fromkeys((*ORDER, *registry.GROUPS, *inside))
    return [group for group in known if group not in NO_GROUPS and group_options(group)]


def group_options(group: str) -> dict[str, str]:
    """Options of a group -> one line on each: a YAML's first comment, or a class docstring's first line."""
    classes = {name: _first_line(cls.__doc__) for name, cls in registry.options(group).items()}
    files = sorted((registry.CONF_DIR / group).glob("*.yaml"))
    return dict(sorted((classes | {path.stem: _comment(path) for path in files}).items()))


def _groups() -> Iterator[str]:
    for group in group_names():
        yield f"{group}:"
        yield from _table(group_options(group))
        yield ""


def _subcommands() -> Iterator[str]:
    yield from _table({name: _first_line(commands.load_command(name).__doc__) for name in commands.command_names()})


def _table(rows: dict[str, str]) -> Iterator[str]:
    width = max((len(name) for name in rows), default=0)
    for name, line in rows.items():
        yield f"  {name:<{width}}  {line}".rstrip()


def _comment(path: Path) -> str:
    comments = (line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    line = next((line for line in comments if not line.startswith("# @package")), "")
    return line.lstrip("# ")


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0]
