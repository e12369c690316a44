"""The import statements of the package's source, read without importing anything: what import-linter does not see.

``python -m tests.source_imports`` writes the picture of the layers into docs/architecture.md.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
ImportNode = ast.Import | ast.ImportFrom

START, END = "<!-- layers: written by python -m tests.source_imports -->", "<!-- /layers -->"


@dataclass(frozen=True, kw_only=True)
class ImportStatement:
    """One imported name. target: the module, with the name where one is imported from it."""

    file: Path
    line: int
    importer: str
    target: str
    in_function: bool
    comment: str

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}: {self.target}"


def import_statements(source: Path = SOURCE) -> list[ImportStatement]:
    """Every import of a name of benchhydra, in the order of the files."""
    return [statement for file in sorted(source.rglob("*.py")) for statement in _of_file(file, source)]


def _of_file(file: Path, source: Path) -> Iterator[ImportStatement]:
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    inner = {id(node) for function in ast.walk(tree) if isinstance(function, FUNCTIONS) for node in ast.walk(function)}
    comments = _comments_of_blocks(tree, text.splitlines())
    for node in _import_nodes(tree):
        for target in _targets(node):
            yield ImportStatement(
                file=file,
                line=node.lineno,
                importer=module_name(file, source),
                target=target,
                in_function=id(node) in inner,
                comment=comments[node.lineno],
            )


def _import_nodes(tree: ast.AST) -> list[ImportNode]:
    nodes = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    return sorted(nodes, key=lambda node: node.lineno)


def _targets(node: ImportNode) -> list[str]:
    """The dotted names of benchhydra's that an import statement imports."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in names if name.partition(".")[0] == "benchhydra"]


def _comments_of_blocks(tree: ast.AST, lines: list[str]) -> dict[int, str]:
    """By line of an import: its comment, with those of the imports right above it and of the line above them."""
    comments: dict[int, str] = {}
    comment_above: dict[int, str] = {}  # by the line that follows an import
    for node in _import_nodes(tree):
        line_above = lines[node.lineno - 2].strip() if node.lineno > 1 else ""
        above = comment_above.get(node.lineno, line_above if line_above.startswith("#") else "")
        end = node.end_lineno or node.lineno
        own = " ".join(line.partition("#")[2] for line in lines[node.lineno - 1 : end])
        comments[node.lineno] = comment_above[end + 1] = f"{above} {own}"
    return comments


def module_name(file: Path, source: Path = SOURCE) -> str:
    """``src/benchhydra/run.py`` -> ``benchhydra.run``."""
    parts = file.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def private_imports(statements: list[ImportStatement]) -> list[ImportStatement]:
    """Imports of a private module or name from outside the package that owns it."""
    return [s for s in statements if (owner := _private_owner(s.target)) and not _is_inside(s, owner)]


def _private_owner(target: str) -> str:
    """The package of the first private part of a dotted name; empty where none is private."""
    parts = target.split(".")
    private = (i for i, part in enumerate(parts) if part.startswith("_") and not part.startswith("__"))
    return ".".join(parts[: next(private, 0)])


def _is_inside(statement: ImportStatement, package: str) -> bool:
    return f"{statement.importer}.".startswith(f"{package}.")


def layers() -> list[list[str]]:
    """The layers of the contract, top to bottom, each with its modules."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    contract = next(contract for contract in settings["contracts"] if contract["id"] == "layers")
    return [re.split(r"\s*[|:]\s*", layer) for layer in contract["layers"]]


def picture() -> str:
    """The layers as a diagram, and as a table with what each module's docstring says it is."""
    diagram = "\n".join(f"    {'   '.join(layer)}" for layer in layers())
    rows = [
        f"| {number} | `{module}` | {summary(module)} |"
        for number, layer in enumerate(layers(), start=1)
        for module in layer
    ]
    return "\n".join([diagram, "", "| layer | module | what it is |", "|--:|---|---|", *rows])


def summary(module: str) -> str:
    """The first sentence of a module's docstring."""
    folder = SOURCE / "benchhydra" / module
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    sentence = re.split(r"\.\s|\n\n", docstring, maxsplit=1)[0].rstrip(".")
    return " ".join(sentence.split()).replace("``", "`")


def with_picture(document: str) -> str:
    """The document with the picture of today's layers between its markers."""
    before, _, rest = document.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{picture()}\n\n{END}{after}"


def class_names(source: Path = SOURCE) -> dict[str, list[str]]:
    """The modules in which each class name is defined."""
    names: dict[str, list[str]] = {}
    for file in sorted((source / "benchhydra").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                names.setdefault(node.name, []).append(module_name(file, source))
    return names


if __name__ == "__main__":
    ARCHITECTURE.write_text(with_picture(ARCHITECTURE.read_text(encoding="utf-8")), encoding="utf-8")
