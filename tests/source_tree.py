"""The Python files of the repository, each read and parsed once for all tests of a process."""

from __future__ import annotations

import ast
import functools
import gc
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = sorted((ROOT / "pumpwatch").rglob("*.py"))
PLUGINS = sorted(path for path in (ROOT / "plugins").rglob("*.py") if path.name != "__init__.py")
TESTS = sorted((ROOT / "tests").rglob("*.py"))


@functools.cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a file. The garbage collector would look at a million nodes again and again: 5 s of 7."""
    gc.disable()
    tree = ast.parse(path.read_text("utf-8"), str(path))
    gc.freeze()
    gc.enable()
    return tree


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    """Return every node of a file's syntax tree."""
    return list(ast.walk(parsed(path)))
