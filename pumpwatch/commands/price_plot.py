"""Draw prices over time with braille dots, two across and four down in each character."""

from __future__ import annotations

import numpy as np

from pumpwatch.model import Float64

ACROSS, DOWN = 2, 4
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
BLANK = 0x2800
LINES = 14
LEAST_WIDTH = 40


def price_plot(seconds: Float64, price: Float64, width: int, lines: int = LINES,
               ends: tuple[str, str] | None = None) -> list[str]:
    """Return a plot of at most `width` columns: a dot for each trade, the publication as a line, and both axes.

    seconds: after the publication. ends: labels below the first and the last price, for a plot without a publication and its
    line. Without a trade the plot is one line that says so.
    """
    if not len(price):
        return ["no trade in the window"]
    low, high = float(price.min()), float(price.max())
    labels = [_price(high), _price((low + high) / 2), _price(low)]
    margin = max(map(len, labels))
    columns = max(LEAST_WIDTH, width) - margin - 2
    first, last = min(0.0, float(seconds.min())), max(0.0, float(seconds.max()))
    scale = (columns * ACROSS - 1) / max(last - first, 1e-9)
    across = np.rint((seconds - first) * scale).astype(int)
    zero = round(-first * scale) // ACROSS
    down = np.rint((high - price) / max(high - low, 1e-300) * (lines * DOWN - 1)).astype(int)
    cells = np.zeros((lines, columns), int)
    np.bitwise_or.at(cells, (down // DOWN, across // ACROSS), DOTS[down % DOWN, across % ACROSS])
    shown = {0: labels[0], lines // 2: labels[1], lines - 1: labels[2]}
    rows = [f"{shown.get(number, ''):>{margin}} ┤" + "".join(
        chr(BLANK + dots) if dots else "│" if place == zero and ends is None else " " for place, dots in enumerate(row))
        for number, row in enumerate(cells.tolist())]
    return [row.rstrip() for row in rows] + [_axis(first, last, zero, columns, margin, ends)]


def _axis(first: float, last: float, zero: int, columns: int, margin: int, ends: tuple[str, str] | None) -> str:
    """Return the labels of both ends; by default the seconds, and `published` under its line if there is room."""
    if ends is not None:
        first_end, last_end = ends
        return " " * (margin + 2) + (f"{first_end}{last_end:>{columns - len(first_end)}}" if first_end != last_end else first_end)
    left, right, middle = f"{first:+.1f} s", f"{last:+.1f} s", "published"
    start = min(max(zero - len(middle) // 2, 0), columns - len(middle))
    axis = list(" " * columns)
    axis[:len(left)] = left
    axis[columns - len(right):] = right
    if start > len(left) and start + len(middle) < columns - len(right):
        axis[start:start + len(middle)] = middle
    return (" " * (margin + 2) + "".join(axis)).rstrip()


def _price(price: float) -> str:
    return f"{price:.6g}"
