"""Where results go: JSON lines or tables on stdout, words about them on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

STYLES = {"ok": "green", "warn": "yellow", "fail": "red", "unreachable": "red", "refused": "red", "disabled": "dim"}


def print_json(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print one JSON object a line, as UTF-8 whatever the terminal speaks."""
    import msgspec

    encode, stdout = msgspec.json.Encoder().encode, sys.stdout.buffer
    for row in rows:
        stdout.write(encode(row) + b"\n")
    stdout.flush()


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print a table; a cell that is a state (ok, warn, fail, ...) gets its colour."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    print_rich(table)


def print_rich(renderable: Any) -> None:
    """Print a rich renderable to stdout, as wide as it needs where stdout is no terminal."""
    from rich.console import Console

    console = Console(file=sys.stdout, soft_wrap=False)
    if not console.is_terminal:
        console = Console(file=sys.stdout, width=160)
    console.print(renderable)


def say(text: str) -> None:
    """Print one line about the work, to stderr."""
    print(text, file=sys.stderr, flush=True)
