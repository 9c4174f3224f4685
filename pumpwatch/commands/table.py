"""Plain tables of a given width: as many columns as fit, numbers right-aligned.

A table is designed for 80 columns and shows more if there is room. A cell may have shorter spellings, a column a rank. If the
width is too small, all short spellings are used first, then the columns of the highest rank are left out, and then the shortest
spellings are used.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import click

SPACE = "  "  # between two columns
FLEXIBLE = 24  # least width of a flexible column with longer text
CUT = "…"
STYLES = {"ok": "green", "up": "green", "warn": "yellow", "fail": "red", "unreachable": "red", "refused": "red"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A text with shorter spellings; `shortest` is by default the short one."""

    full: str
    short: str
    shortest: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `narrow` is its heading above short cells, `rank` 0 means that it is never left out.

    A flexible column takes the room that the others leave and wraps its text (`wraps`). An optional column is left out if all
    its cells are empty. `least` is its minimal width in characters.
    """

    heading: str
    narrow: str = ""
    right: bool = False
    rank: int = 0
    wraps: bool = False
    optional: bool = False
    least: int = 0


Row = Sequence[str | Cell]  # one cell a column
Rows = Sequence[Row | str]  # a text in place of a row is a remark on the row before it


class Layout:
    """The columns that are shown, their widths and the spelling of their cells (0 full, 1 short, 2 shortest).

    Makes lines of at most `width` characters.
    """

    def __init__(self, columns: Sequence[Column], widths: dict[int, int], level: int, width: int) -> None:
        self.columns, self.widths, self.level, self.width = columns, widths, level, width

    def shows(self, heading: str) -> bool:
        """Return whether the column with this heading is shown."""
        return any(self.columns[index].heading == heading for index in self.widths)

    def holds(self, rows: Sequence[Row]) -> bool:
        """Return whether these rows fit without a change of columns or widths."""
        if any(column.optional and not column.rank and index not in self.widths and row[index]
               for row in rows for index, column in enumerate(self.columns)):
            return False
        return all(self.columns[index].wraps or text_width(spelling(row[index], self.level)) <= width
                   for row in rows for index, width in self.widths.items())

    def heading(self) -> list[str]:
        """Return the heading as lines; none if no column has a heading."""
        cells = [_heading(column, self.level) for column in self.columns]
        return self.lines([cells]) if any(cells) else []

    def lines(self, rows: Rows, color: bool = False) -> list[str]:
        """Return the rows as lines, without the heading."""
        lines: list[str] = []
        for row in rows:
            if isinstance(row, str):
                lines += [f"  {line}" for line in wrapped(row, self.width - 2)]
            else:
                lines += self._row(row, color)
        return lines

    def _row(self, row: Row, color: bool) -> list[str]:
        parts = {index: self._parts(index, spelling(row[index], self.level)) for index in self.widths}
        lines = []
        for number in range(max(map(len, parts.values()), default=0)):
            cells = []
            for index, width in self.widths.items():
                text = parts[index][number] if number < len(parts[index]) else ""
                room = " " * (width - text_width(text))
                style = STYLES.get(text) if color else None
                text = click.style(text, fg=style) if style else text
                cells.append(room + text if self.columns[index].right else text + room)
            lines.append(SPACE.join(cells).rstrip())
        return lines

    def _parts(self, index: int, text: str) -> list[str]:
        return wrapped(text, self.widths[index])


def fit(columns: Sequence[Column], rows: Rows, width: int) -> Layout:
    """Return the layout of these rows in `width` characters: the fullest that fits."""
    cells = [row for row in rows if not isinstance(row, str)]
    kept = dict.fromkeys(index for index, column in enumerate(columns)
                         if not column.optional or any(row[index] for row in cells))
    ranks = sorted({column.rank for column in columns if column.rank}, reverse=True)
    for level, dropped in ((0, 0), (1, 0), *((1, rank) for rank in ranks), (2, 0)):
        if dropped:
            kept = dict.fromkeys(index for index in kept if columns[index].rank < dropped)
        widths = {index: _natural(columns[index], [spelling(row[index], level) for row in cells], level) for index in kept}
        if _total(_at_least(columns, widths)) <= width:
            break
    return Layout(columns, _shared_out(columns, widths, width), level, width)


def render(columns: Sequence[Column], rows: Rows, width: int, color: bool = False) -> list[str]:
    """Return a table as lines: its heading and its rows."""
    layout = fit(columns, rows, width)
    return [*layout.heading(), *layout.lines(rows, color)]


def spelling(cell: str | Cell, level: int) -> str:
    """Return a cell's text: full (0), short (1) or shortest (2)."""
    if isinstance(cell, str):
        return cell
    return (cell.full, cell.short, cell.shortest or cell.short)[level]


def _heading(column: Column, level: int) -> str:
    return column.narrow if level and column.narrow else column.heading


def _natural(column: Column, texts: Sequence[str], level: int) -> int:
    return max([text_width(_heading(column, level)), column.least, *map(text_width, texts)])


def _at_least(columns: Sequence[Column], widths: dict[int, int]) -> dict[int, int]:
    return {index: min(width, FLEXIBLE) if columns[index].wraps else width for index, width in widths.items()}


def _total(widths: dict[int, int]) -> int:
    return sum(widths.values()) + len(SPACE) * (len(widths) - 1)


def _shared_out(columns: Sequence[Column], widths: dict[int, int], width: int) -> dict[int, int]:
    """Return widths whose total is at most `width`: flexible columns shrink first, then the widest others."""
    least = _at_least(columns, widths)
    room = width - _total(least)
    for index in sorted(widths, key=lambda index: widths[index]):
        more = min(widths[index] - least[index], max(0, room))
        least[index] += more
        room -= more
    while room < 0 and max(least.values()) > 1:
        widest = max(least, key=lambda index: (not columns[index].right, least[index]))
        widest = widest if least[widest] > 8 else max(least, key=lambda index: least[index])
        least[widest] -= 1
        room += 1
    return least


def text_width(text: str) -> int:
    """Return how many columns of a terminal a text takes: 2 for a wide character, 0 for a combining one."""
    if text.isascii():
        return len(text)
    return sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Return a text of at most `width` columns, which ends in `…` if it was longer."""
    if text_width(text) <= width:
        return text
    while text and text_width(text) > width - 1:
        text = text[:-1]
    return text + CUT if width else ""


def wrapped(text: str, width: int) -> list[str]:
    """Return a text as lines of at most `width` columns, broken at spaces; a longer word is broken anywhere."""
    width = max(2, width)
    if text_width(text) <= width:
        return [text]
    lines, line = [], ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if text_width(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        while text_width(word) > width:
            end = len(word)
            while text_width(word[:end]) > width:
                end -= 1
            lines.append(word[:end])
            word = word[end:]
        line = word
    return [*lines, line]


def plain(number: float, digits: int = 12) -> str:
    """Return a number in plain decimals with about `digits` digits: 0.00001, not 1e-05. The integer part is always whole."""
    if not math.isfinite(number):
        return str(number)
    before = len(f"{abs(number):.0f}")
    return f"{Decimal(f'{number:.{max(before, digits)}g}'):f}"


def aligned(numbers: Sequence[float], decimals: int = 0) -> list[str]:
    """Return numbers as texts, padded at the end so that their decimal points align.

    `decimals` is the least number of decimals to leave room for.
    """
    texts = [plain(number) for number in numbers]
    behind = max([decimals, *map(decimals_of, texts)])
    room = behind + 1 if behind else 0
    return [text + " " * (room - (decimals_of(text) + 1 if "." in text else 0)) for text in texts]


def decimals_of(text: str) -> int:
    """Return the number of decimals of a plain number."""
    return len(text.partition(".")[2])
