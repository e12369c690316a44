"""``benchhydra --help``: every group with its options, every subcommand, every exit code, one line each."""

from __future__ import annotations

from collections.abc import Iterator

from benchhydra import commands
from benchhydra.exit_codes import EXIT_CODES
from benchhydra.overrides import groups

USAGE = """\
benchhydra: benchmarks of LLM inference as composed experiments

usage: benchhydra KEY=VALUE ...       one point: benchhydra model=tiny qps=5 num_prompts=50
       benchhydra -m KEY=A,B ...      a sweep:   benchhydra -m model=llama2,mistral script=serving qps=1,5,10
       benchhydra SUBCOMMAND ...      benchhydra SUBCOMMAND --help shows its arguments
"""
EXAMPLES = """\
keys: qps, num_prompts, repeats, seed, description; engine.args.ANY_FLAG=value; GROUP.KEY=value of the options above.
      benchhydra options GROUP=OPTION lists an option's keys with units and defaults.

examples:
  benchhydra -m model=llama2,mistral script=serving qps=1,5,10 engine=fake num_prompts=5
  benchhydra -m qps=1,5 engine.args.max_num_seqs=64,128 sweep.plan=true      what would run; starts nothing
  benchhydra -m qps=1,5 repeats=3 sweep.order=interleaved
  benchhydra -m qps=1,5 sweep.resume=auto                                    resumes after a crash
  benchhydra model=custom model.id=HUB_ID engine.python=OTHER_VENV/bin/python

your own options: --config-dir DIR (YAML) or a module in a folder benchhydra_plugins on PYTHONPATH (Python).
HYDRA_FULL_ERROR=1 prints tracebacks. --hydra-help lists Hydra's own options (--cfg job, --shell-completion, ...).
"""


def help_text() -> str:
    """The whole text. ``registry.discover`` must have been called."""
    codes = _table({f"{code:>3}": meaning for code, meaning in EXIT_CODES.items()})
    return "\n".join(
        [USAGE, *_groups(), "subcommands:", *_subcommands(), "", "exit codes (docs/ci.md):", *codes, "", EXAMPLES]
    )


def _groups() -> Iterator[str]:
    for group in groups.group_names():
        yield f"{group}:"
        yield from _table(groups.group_options(group))
        yield ""


def _subcommands() -> Iterator[str]:
    names = commands.command_names()
    yield from _table({name: groups.first_line(commands.load_command(name).__doc__) for name in names})


def _table(rows: dict[str, str]) -> Iterator[str]:
    width = max((len(name) for name in rows), default=0)
    for name, line in rows.items():
        yield f"  {name:<{width}}  {line}".rstrip()
