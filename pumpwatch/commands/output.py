"""Print results to stdout, as JSON lines or tables, and messages to stderr.

Their text may come from a venue, a board or a server. It is made printable here, so that it cannot control the terminal.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pumpwatch.commands.table import Cell, Column, Row, render, wrapped
from pumpwatch.printable import printable

LONGEST = 2000  # characters of a line or a cell
LINE = 200  # columns of a line on stderr; longer text is wrapped
USUAL_WIDTH, LEAST_WIDTH = 80, 20


def terminal_width() -> int:
    """Return the width of a table: COLUMNS if it is set, else the terminal's; 80 where stdout is not a terminal."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 0:
        return max(LEAST_WIDTH, int(given))
    if not sys.stdout.isatty():
        return USUAL_WIDTH
    try:
        found = os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return USUAL_WIDTH
    return max(LEAST_WIDTH, found or USUAL_WIDTH)


def colored() -> bool:
    """Return whether stdout shows colours: a terminal does, unless NO_COLOR is set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def print_json(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print one JSON object a line, as UTF-8 whatever the terminal's encoding is."""
    import msgspec

    encode, stdout = msgspec.json.Encoder().encode, sys.stdout.buffer
    for row in rows:
        stdout.write(encode(row) + b"\n")
    stdout.flush()


def print_table(columns: Sequence[Column | str], rows: Iterable[Row | str], title: str = "") -> None:
    """Print a table that fits the terminal; a column given as text is never left out."""
    wide = [Column(column) if isinstance(column, str) else column for column in columns]
    print_lines([*([title] if title else []),
                 *render(wide, list(map(shown, rows)), terminal_width(), colored())])


def print_lines(lines: Iterable[str]) -> None:
    """Print lines that are printable already."""
    for line in lines:
        print(line)
    sys.stdout.flush()


def shown(value: Any) -> Any:
    """Return a text made printable, or data with every text in it made printable."""
    if isinstance(value, str):
        return printable(value, LONGEST)
    if isinstance(value, Cell):
        return Cell(shown(value.full), shown(value.short), shown(value.shortest))
    if isinstance(value, dict):
        return {shown(key): shown(inner) for key, inner in value.items()}
    return list(map(shown, value)) if isinstance(value, (list, tuple)) else value


def print_line(text: object) -> None:
    """Print one line of the result to stdout."""
    print(shown(str(text)), flush=True)


def print_message(*lines: str) -> None:
    """Print messages to stderr; a long line is broken at spaces."""
    for line in lines:
        first, *others = wrapped(shown(line), LINE - 2)
        print("\n".join((first, *(f"  {other}" for other in others))), file=sys.stderr, flush=True)


def print_commands(*lines: str) -> None:
    """Print commands to stderr, unbroken, so that they can be copied."""
    for line in lines:
        print(shown(line), file=sys.stderr, flush=True)


@contextmanager
def hushed(logger: str) -> Iterator[None]:
    """Silence the warnings of a logger in a command that prints them itself."""
    found = logging.getLogger(logger)
    level = found.level
    found.setLevel(logging.ERROR)
    try:
        yield
    finally:
        found.setLevel(level)


def program() -> str:
    """Return the command that starts PumpWatch again in this shell: its name if PATH leads to it, else its path."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m pumpwatch"
    on_path = shutil.which(called.name)
    if on_path and Path(on_path).resolve() == called.resolve():
        return called.name
    return shlex.quote(near(called))


def near(path: Path) -> str:
    """Return a path below the working directory relative to it, any other path absolute."""
    whole = path.absolute()
    return str(whole.relative_to(Path.cwd())) if whole.is_relative_to(Path.cwd()) else str(whole)
