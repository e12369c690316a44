"""The commands of the pages: code blocks of README.md and docs/, and how each is run.

A block of commands is fenced as ``bash``. It runs in the tests, unless the line above it is a comment
``<!-- not run: REASON -->``. ``<!-- exits with 3 -->`` says that its last command ends with that code. Other pages
have indented commands, which are composed and not run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: The pages whose commands are all fenced, and either run or marked.
PAGES = (
    ROOT / "README.md",
    *(
        DOCS / f"{name}.md"
        for name in ("index", "getting-started", "recipes", "faq", "troubleshooting", "editors", "containers", "python")
    ),
)
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^>]+?) -->\n|^<!-- exits with (?P<code>\d+) -->\n)?^```bash\n(?P<text>.*?)^```$",
    re.M | re.S,
)
FENCE = re.compile(r"^```bash.*$", re.M)


@dataclass(frozen=True)
class Block:
    """A fenced block of commands. reason: why it does not run; empty: it runs."""

    page: Path
    text: str
    code: int
    reason: str

    def commands(self) -> Iterator[list[str]]:
        """The words of each benchhydra command in it, without the program's name."""
        for line in self.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:3] == ["python", "-m", "benchhydra"]:
                words = words[2:]
            if "benchhydra" in words[:1]:
                yield words[1:]


def blocks(page: Path) -> list[Block]:
    """All blocks of commands of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page=page, text=match["text"], code=int(match["code"] or 0), reason=match["reason"] or "")
        for match in BLOCK.finditer(text)
    ]


def indented_commands(page: Path) -> Block:
    """The indented commands of a page, which are shown and not run."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    lines = re.findall(r"^ {4}((?:python -m )?benchhydra (?:.*\\\n)*.*)$", text, re.M)
    return Block(page=page, text="\n".join(lines), code=0, reason="indented")
