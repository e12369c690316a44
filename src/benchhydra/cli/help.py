"""``benchhydra --help`` on one screen, and ``benchhydra help TOPIC`` for what does not fit on it.

The screen is made from file names, first lines and declarations, without importing the options or the commands: those
take half a second of CPU.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from benchhydra import commands, registry
from benchhydra.errors import ConfigError
from benchhydra.exit_codes import EXIT_CODES
from benchhydra.overrides import groups

WIDTH = 120
EXIT_CODES_TOPIC = "exit-codes"
USAGE = """\
benchhydra: benchmarks of LLM inference as composed experiments

usage: benchhydra KEY=VALUE ...       one point: benchhydra model=tiny qps=5 num_prompts=50
       benchhydra -m KEY=A,B ...      a sweep:   benchhydra -m model=llama2,mistral script=serving qps=1,5,10
       benchhydra SUBCOMMAND ...      benchhydra SUBCOMMAND --help shows its arguments
"""
END = """\
keys: qps, num_prompts, repeats, seed, description; engine.args.ANY_FLAG=value; GROUP.NAME=value.
      benchhydra options GROUP=OPTION lists an option's keys with units and defaults.

examples:
  benchhydra -m qps=1,5 engine.args.max_num_seqs=64,128 sweep.plan=true      what would run; starts nothing
  benchhydra -m qps=1,5 sweep.resume=auto                                    resumes after a crash
  benchhydra model=custom model.id=HUB_ID engine.python=OTHER_VENV/bin/python

exit codes: 0 success, 1 error or INVALID, 2 wrong usage, 3 regression, 4 to 12 not comparable (help exit-codes)
your own options: --config-dir DIR (YAML) or a module in a folder benchhydra_plugins on PYTHONPATH (Python).
a run or sweep prints tables; --json prints its results on stdout, -q only errors. benchhydra show prints them again.
benchhydra help TOPIC describes a subcommand, a group or exit-codes; --version prints the version.
HYDRA_FULL_ERROR=1 prints tracebacks. --hydra-help lists Hydra's own options (--cfg job, ...).
"""


def help_text() -> str:
    """The whole screen."""
    titles = ["groups: GROUP=OPTION; benchhydra help GROUP describes the options", *_groups()]
    return "\n".join([USAGE, *titles, "", "subcommands:", *_subcommands(), "", END])


def topic_text(topic: str) -> str:
    """The text of ``benchhydra help TOPIC``: a subcommand, a config group, or the exit codes. Raises ConfigError."""
    if topic == EXIT_CODES_TOPIC:
        codes = _table({f"{code:>3}": meaning for code, meaning in EXIT_CODES.items()})
        return "\n".join(["exit codes (docs/ci.md):", *codes, ""])
    if topic in commands.command_names():
        return commands.command_parser(topic).format_help()
    registry.discover()
    if topic in groups.group_names():
        return "\n".join([f"{topic}:", *_table(groups.group_options(topic)), "", _keys_line(topic), ""])
    from benchhydra.overrides.suggestions import suggest_word  # start-up time: composing, needed only for errors

    topics = [*commands.command_names(), *groups.group_names(), EXIT_CODES_TOPIC]
    hint = suggest_word(topic, (), topics) or f"one of {', '.join(topics)}"
    raise ConfigError(f"no help on {topic}", hint=hint)


def _keys_line(group: str) -> str:
    option = next(iter(groups.group_options(group)))
    return f"benchhydra options {group}={option} lists the keys of an option, with units and defaults."


def _groups() -> Iterator[str]:
    names = groups.declared_options()
    width = max(map(len, names))
    for group, options in names.items():
        indent = " " * (width + 4)
        first = f"  {group:<{width}}  "
        yield from textwrap.wrap(", ".join(options), WIDTH, initial_indent=first, subsequent_indent=indent)


def _subcommands() -> Iterator[str]:
    lines = {name: commands.summary(name) for name in commands.command_names()}
    return _table({name: textwrap.shorten(line, 100, placeholder=" ...") for name, line in lines.items()})


def _table(rows: dict[str, str]) -> Iterator[str]:
    width = max((len(name) for name in rows), default=0)
    for name, line in rows.items():
        yield f"  {name:<{width}}  {line}".rstrip()
