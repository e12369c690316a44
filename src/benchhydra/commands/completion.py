"""Print the script that completes commands, keys and values in bash, zsh or fish.

benchhydra completion bash >> ~/.bashrc
benchhydra completion zsh > ~/.zfunc/_benchhydra     a directory of fpath
benchhydra completion fish > ~/.config/fish/completions/benchhydra.fish
"""

from __future__ import annotations

import argparse
import os
import sys

from benchhydra.commands import _completion, _vocabulary, command_names
from benchhydra.errors import ConfigError

#: Readline replaces only what follows the last = or : of a word, so what precedes it is cut off the candidates.
BASH = """\
_benchhydra() {
    local line="${COMP_LINE:0:COMP_POINT}" breaks="${COMP_WORDBREAKS//[^=:]/}" word start=
    mapfile -t COMPREPLY < <(COMP_LINE="$line" "${1/#\\~/$HOME}" completion --query 2>/dev/null)
    word="${line##*[[:space:]]}"
    [[ -n $breaks ]] && start="${word%"${word##*[$breaks]}"}"
    [[ -n $start ]] && COMPREPLY=("${COMPREPLY[@]#"$start"}")
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o bashdefault -o default -F _benchhydra benchhydra
"""
ZSH = """\
#compdef benchhydra
_benchhydra() {
    local -a matches going_on
    matches=("${(@f)$(COMP_LINE="$LBUFFER" $words[1] completion --query 2>/dev/null)}")
    matches=(${matches:#})
    going_on=(${(M)matches:#*[=.]})
    (( $#matches )) || { _files; return }
    compadd -S '' -- $going_on
    compadd -- ${matches:|going_on}
}
compdef _benchhydra benchhydra
"""
FISH = """\
function __benchhydra_complete
    set -lx COMP_LINE (commandline -cp)
    benchhydra completion --query 2>/dev/null
end
complete -c benchhydra -a '(__benchhydra_complete)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra completion``."""
    parser.add_argument("shell", nargs="?", choices=tuple(SCRIPTS), help="the shell that the script is for")
    parser.add_argument("--query", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--build", nargs="?", const="", metavar="PYTHON", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Print a script; or answer the scripts: print the words that complete ``COMP_LINE``, one a line."""
    if args.build is not None:
        _vocabulary.build(args.build or None)
    elif args.query:
        sys.stdout.write("".join(f"{word}\n" for word in _answer(os.environ.get("COMP_LINE", ""))))
    elif args.shell is None:
        raise ConfigError("completion needs the name of a shell", hint="benchhydra completion bash")
    else:
        sys.stdout.write(SCRIPTS[args.shell])
    return 0


def _answer(line: str) -> list[str]:
    """The candidates from what is cached; what is not is cached in the background for the next question."""
    python = _completion.engine_python(line)
    vocabulary, flags = _vocabulary.read_vocabulary(), _vocabulary.read_flags(python)
    if vocabulary is None or flags is None:
        _vocabulary.build_in_background(python)
    if vocabulary is None:
        vocabulary = _vocabulary.Vocabulary(commands={name: {} for name in command_names()}, groups={}, keys={})
    return _completion.candidates(line, vocabulary, flags or ())
