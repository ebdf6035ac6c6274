"""Lengths of files and functions, and numbers of arguments, from the source code alone."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LONG, MANY = 50, 6


@dataclass(frozen=True)
class Function:
    """A function or method, which may be nested.

    lines: from `def` to its last line, including the docstring; arguments: without self and cls
    """

    file: str
    name: str
    lines: int
    arguments: int


@dataclass(frozen=True)
class Lengths:
    """All files (as their numbers of lines) and functions below a folder."""

    files: dict[str, int]
    functions: list[Function]

    def rows(self) -> Iterator[tuple[str, str]]:
        """Names and values for a table."""
        longest = max(self.files, key=lambda file: self.files[file])
        long = [each for each in self.functions if each.lines > LONG]
        many = [each for each in self.functions if each.arguments > MANY]
        share = len(many) / len(self.functions)
        yield "files", f"{len(self.files)}"
        yield "lines in all", f"{sum(self.files.values()):,}"
        yield "longest file", f"{self.files[longest]:,} lines ({longest})"
        yield "functions", f"{len(self.functions):,}"
        median = statistics.median(each.lines for each in self.functions)
        yield "median lines of a function", f"{median:g}"
        yield f"functions over {LONG} lines", f"{len(long)}"
        yield f"functions with more than {MANY} arguments", f"{len(many)} ({share:.1%})"


def measured(package: Path) -> Lengths:
    """The lengths of every Python file below the folder."""
    files, functions = dict[str, int](), list[Function]()
    for path in sorted(package.rglob("*.py")):
        name, text = str(path.relative_to(package)), path.read_text()
        files[name] = len(text.splitlines())
        functions += _functions(ast.parse(text), name)
    return Lengths(files, functions)


def _functions(tree: ast.AST, file: str, in_class: bool = False) -> Iterator[Function]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield Function(file, node.name, lines, _arguments(node, in_class))
        yield from _functions(node, file, isinstance(node, ast.ClassDef))


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef, in_class: bool) -> int:
    asked = node.args
    count = len(asked.posonlyargs) + len(asked.args) + len(asked.kwonlyargs)
    count += (asked.vararg is not None) + (asked.kwarg is not None)
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
    return count - (in_class and not static)
