"""Where results go: JSON lines or tables on stdout, words about them on stderr.

Text in them may come from a venue, a board or a server. It is made printable here, so that it steers no terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pumpwatch.printable import printable

LONGEST = 2000  # characters of a line or a cell
STYLES = {"ok": "green", "warn": "yellow", "fail": "red", "unreachable": "red", "refused": "red", "disabled": "dim"}


def print_json(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print one JSON object a line, as UTF-8 whatever the terminal speaks."""
    import msgspec

    encode, stdout = msgspec.json.Encoder().encode, sys.stdout.buffer
    for row in rows:
        stdout.write(encode(row) + b"\n")
    stdout.flush()


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str | Sequence[str]]], title: str = "") -> None:
    """Print a table; a cell that is a state (ok, warn, fail, ...) gets its colour, one of several lines is a list."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(text, style=STYLES.get(text, "")) for text in map(_cell, row)))
    print_rich(table)


def print_rich(renderable: Any) -> None:
    """Print a rich renderable to stdout, as wide as it needs where stdout is no terminal.

    Text in it is text: `[...]` in what a server says is not a style.
    """
    from rich.console import Console

    console = Console(file=sys.stdout, soft_wrap=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(file=sys.stdout, width=160, markup=False, emoji=False)
    console.print(renderable)


def _cell(cell: str | Sequence[str]) -> str:
    return shown(cell) if isinstance(cell, str) else "\n".join(map(shown, cell))


def shown(value: Any) -> Any:
    """Return a text made printable, and data with every text in it."""
    if isinstance(value, str):
        return printable(value, LONGEST)
    if isinstance(value, dict):
        return {shown(key): shown(inner) for key, inner in value.items()}
    return list(map(shown, value)) if isinstance(value, (list, tuple)) else value


def put(text: object) -> None:
    """Print one line of the result to stdout."""
    print(shown(str(text)), flush=True)


def say(*lines: str) -> None:
    """Print lines about the work to stderr."""
    for line in lines:
        print(shown(line), file=sys.stderr, flush=True)
