"""Make chart.html: one file that shows a listing in any browser, without a network.

It shows the price of every venue on one axis, in seconds from the publication, with the value of buys and sells below. Marks
show the publication, each sight, the trigger, and each venue's first abnormal trade. A table shows the order in which venues
moved. Prices of bundles (1000PEPE) are divided by the multiplier. Time is divided into at most STEPS_MAX steps of equal length,
because the library spaces points evenly; a point is the last price of its step.

All external text is escaped, and the page's content security policy allows only its own scripts, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

import msgspec
import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_MS
from pumpwatch.listing.abnormal import odd_rows
from pumpwatch.model import BUY, FUTURES, SELL, Int64, TradeBatch

LIBRARY, SCRIPT = "lightweight-charts.js", "chart.js"
STEPS_MAX = 1200
STEPS_MS = (100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000)
PIECE = 32_000  # bytes written at a time
# distinguishable on white and on black
COLORS = ("#e6820e", "#2f81f7", "#c93c9b", "#1f9d8b", "#9d7d0a", "#8957e5", "#d1453b", "#4c9a2a", "#6e7781", "#0aa2c0",
          "#b4637a", "#7d8f00")
COLUMNS = ("venue", "symbol", "moved after", "behind", "change", "peak", "peak after", "trades")


def chart_pieces(coin: str, analysis: Mapping[str, Any], trades: TradeBatch, ids: Sequence[int], catalogue: Catalogue,
                 notices: Sequence[Mapping[str, Any]], sights: Sequence[Mapping[str, Any]] = ()) -> Iterator[bytes]:
    """Yield the page in pieces. analysis: with `window` and the announcement's times. trades: of the window, by time.

    notices, sights: as in `notice.json`. Without sights, the detection of each notice is marked.
    """
    grid = Grid.of(analysis)
    data = chart_data(analysis, trades, ids, catalogue, notices, sights, grid)
    text = Template(page_file("chart.html")).substitute(
        coin=html.escape(f"{coin}, drill" if analysis.get("drill") else coin),
        announced=html.escape(analysis["announced_at"]), style=page_file("chart.css"),
        notices="\n".join(f"<p>{_notice(notice)}</p>" for notice in notices), summary=html.escape(_summary(analysis)),
        step=f"{grid.step_ms / 1000:g} s", table=_table(analysis), data=script_json(data), library=page_file(LIBRARY),
        script=page_file(SCRIPT), hashes=f"{script_hash(page_file(LIBRARY))} {script_hash(page_file(SCRIPT))}")
    page = text.encode("utf-8", "replace")
    for start in range(0, len(page), PIECE):
        yield page[start:start + PIECE]


class Grid:
    """Steps of equal length. Step i ends first_ms + i x step_ms after the publication, and has the trades up to its end."""

    def __init__(self, announced_at_ns: int, start_ns: int, end_ns: int) -> None:
        span_ms = (end_ns - start_ns) / NS_PER_MS
        self.announced_at_ns = announced_at_ns
        self.step_ms = next((step for step in STEPS_MS if span_ms / step <= STEPS_MAX), STEPS_MS[-1])
        self._step_ns = self.step_ms * NS_PER_MS
        first = (start_ns - announced_at_ns) // self._step_ns
        self.first_ms = int(first) * self.step_ms
        self.count = self._step(end_ns) + 1
        self.start_ns, self.end_ns = start_ns, end_ns

    @classmethod
    def of(cls, analysis: Mapping[str, Any]) -> Grid:
        """Return the grid of the interval that contains the publication."""
        at_ns = analysis["announced_at_ns"]
        start, end = next((part for part in analysis["window"] if part[0] <= at_ns < part[1]), analysis["window"][0])
        return cls(at_ns, start, end)

    def _step(self, at_ns: int) -> int:
        return int(-((self.announced_at_ns + self.first_ms * NS_PER_MS - at_ns) // self._step_ns))

    def step(self, at_ns: int) -> int | None:
        """Return the step of a time; None outside the grid."""
        found = self._step(at_ns)
        return found if 0 <= found < self.count else None

    def steps(self, timestamps: Int64) -> Int64:
        """Return the step of each time."""
        return -((self.announced_at_ns + self.first_ms * NS_PER_MS - timestamps) // self._step_ns)


def chart_data(analysis: Mapping[str, Any], trades: TradeBatch, ids: Sequence[int], catalogue: Catalogue,
               notices: Sequence[Mapping[str, Any]], sights: Sequence[Mapping[str, Any]], grid: Grid) -> dict[str, Any]:
    """Return the data that the page's script draws: steps, a line per instrument with trades, buys and sells, marks."""
    trades = trades.take(~odd_rows(trades) & (trades.timestamp >= grid.start_ns) & (trades.timestamp < grid.end_ns))
    where, value = grid.steps(trades.timestamp), trades.price * trades.quantity
    firsts = {(row["exchange"], row["market_type"], row["symbol"]): grid.step(row["first_abnormal"]["at_ns"])
              for row in analysis["instruments"] if row["first_abnormal"]}
    lines: list[dict[str, Any]] = []
    for number in ids:
        own = np.flatnonzero(trades.instrument == number)
        if not len(own):
            continue
        last = own[np.flatnonzero(np.diff(where[own], append=-1))]
        (exchange, market_type), instrument = catalogue.venues[number], catalogue.instruments[number]
        name = f"{exchange}.{market_type}"
        alone = sum(catalogue.venues[other] == catalogue.venues[number] for other in ids) == 1
        lines.append({"name": name if alone else f"{name} {instrument.symbol}", "color": COLORS[len(lines) % len(COLORS)],
                      "futures": market_type == FUTURES, "at": where[last].tolist(),
                      "price": (trades.price[last] / instrument.multiplier).tolist(),
                      "first": firsts.get((exchange, market_type, instrument.symbol))})
    sums = {name: np.bincount(where[trades.side == side], value[trades.side == side], grid.count).round(2).tolist()
            for name, side in (("buy", BUY), ("sell", SELL))}
    seen = [(sight["source"], sight["seen_at_ns"]) for sight in sights] or [
        (notice["source"], notice["detected_at_ns"]) for notice in notices]
    marks = [("published", analysis["announced_at_ns"]),
             *((f"seen by {source}", at_ns) for source, at_ns in seen),
             ("triggered", min((notice["triggered_at_ns"] for notice in notices), default=analysis["triggered_at_ns"]))]
    return {"step_ms": grid.step_ms, "first_ms": grid.first_ms, "venues": lines, **sums,
            "marks": [{"label": label, "at": at} for label, at_ns in marks if (at := grid.step(at_ns)) is not None]}


def script_json(data: Any) -> str:
    """Return data as JSON that cannot close its script element."""
    return msgspec.json.encode(data).decode().replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _notice(notice: Mapping[str, Any]) -> str:
    published = notice["announced_at"].replace("T", " ").replace(".000000Z", " UTC").replace("Z", " UTC")
    times = html.escape(f"({notice['source']} {notice['notice_id']}, published {published}, seen "
                       f"{notice['detected_after_ms'] / 1000:+.3f} s, triggered {notice['triggered_after_ms'] / 1000:+.3f} s)")
    return f"<bdi>{html.escape(notice['title'])}</bdi> {times}"  # bdi: a right-to-left title does not affect the times


def _summary(analysis: Mapping[str, Any]) -> str:
    overall = analysis["overall"]
    venues = {(row["exchange"], row["market_type"]) for row in analysis["instruments"]}
    parts = [f"{overall['trades']:,} trades on {len(venues)} venues"]
    if overall["order"]:
        first = overall["order"][0]
        parts.append(f"first to move: {first['exchange']}.{first['market_type']} at "
                     f"{first['after_announcement_ms'] / 1000:+.3f} s")
    if overall["peak"]:
        parts.append(f"highest peak {overall['peak']['change_percent']:+.2f} %")
    if overall["leak"]:
        parts.append(f"abnormal before the publication on {len(overall['leak'])} markets")
    return "; ".join(parts)


def _table(analysis: Mapping[str, Any]) -> str:
    order = {(row["exchange"], row["market_type"], row["symbol"]): row for row in analysis["overall"]["order"]}
    lines = [_line("th", COLUMNS)]
    for row in analysis["instruments"]:
        lines.append(_line("td", _cells(row, order.get((row["exchange"], row["market_type"], row["symbol"])))))
    return "\n".join(["<table>", *lines, "</table>"])


def _line(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f'<{tag}{" class=number" if number > 1 else ""}>{html.escape(cell)}</{tag}>'
                            for number, cell in enumerate(cells)) + "</tr>"


def _cells(row: Mapping[str, Any], place: Mapping[str, Any] | None) -> list[str]:
    first, peak = row["first_abnormal"], row["peak"]
    behind = ""
    if place is not None and place["behind_most_ms"]:
        behind = (f"{'≈ ' if place['tied_with_first'] else ''}{place['behind_first_ms']:,.3f} ms "
                  f"({place['behind_least_ms']:,.3f} to {place['behind_most_ms']:,.3f})")
    return [f"{row['exchange']}.{row['market_type']}", row["symbol"],
            f"{first['after_announcement_ms'] / 1000:+.3f} s" if first else "-", behind,
            f"{first['change_percent']:+,.2f} %" if first else "", f"{peak['change_percent']:+,.2f} %" if peak else "",
            f"{peak['after_announcement_ms'] / 1000:+.3f} s" if peak else "", f"{row['trades']:,}"]


@cache
def page_file(name: str, package: str = "pumpwatch.listing") -> str:
    """Return the text of a file in a package's folder `page`."""
    return (files(package) / "page" / name).read_text("utf-8")


@cache
def script_hash(script: str) -> str:
    """Return a script's hash as written in a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
