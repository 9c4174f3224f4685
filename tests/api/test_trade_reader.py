"""Reading stored trades part by part, and what is told where that fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pumpwatch.api import trade_reader
from pumpwatch.api.trade_reader import Incomplete, WantedTrades, parts, pieces
from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.model import TradeBatch
from pumpwatch.store.query import QueryPart, QueryResult
from tests.trades import batch_of, catalogue_of

HOUR_NS = 3600 * NS_PER_S


class Scripted:
    """A store with `rate` trades a second from `busy_ns` on, and with none before. It remembers what it was asked for."""

    def __init__(self, rate: float, busy_ns: int = 0, begins_ns: int = 0, most: int = 10**9) -> None:
        self.catalogue: Catalogue = catalogue_of()
        self.asked: list[tuple[int, int]] = []
        self.problem = ""
        self._rate, self._busy_ns, self._begins_ns, self._most = rate, busy_ns, begins_ns, most

    def knows(self, coin: str) -> bool:
        return coin == "C0"

    def begins_ns(self) -> int:
        return self._begins_ns

    def of(self, coin: str, start_ns: int, end_ns: int, exchange: str | None, market: str | None) -> QueryResult:
        rows = int(self._rate * max(0, end_ns - max(start_ns, self._busy_ns)) / NS_PER_S)
        if rows > self._most:
            raise MemoryError
        self.asked.append((start_ns, end_ns))
        batch = batch_of(rows, start_ns=start_ns, step_ns=0) if rows else TradeBatch.empty()
        return QueryResult(batch, [QueryPart("journal", rows, 1.0, self.problem)])


def wanted(hours: float, form: str = "ndjson", coin: str = "C0") -> WantedTrades:
    return WantedTrades(coin, 0, int(hours * HOUR_NS), None, None, form)  # type: ignore[arg-type]


def read(stored: Scripted, request: WantedTrades) -> list[TradeBatch]:
    return list(parts(stored, request))  # type: ignore[arg-type]


def told(stored: Scripted, request: WantedTrades) -> list[tuple[bytes, bytes]]:
    return list(pieces(stored, request))  # type: ignore[arg-type]


def test_the_parts_cover_the_time_once_without_a_hole() -> None:
    stored = Scripted(100.0)
    rows = sum(map(len, read(stored, wanted(2))))
    assert rows == 2 * 3600 * 100
    assert stored.asked[0][0] == 0 and stored.asked[-1][1] == 2 * HOUR_NS
    assert all(before[1] == after[0] for before, after in zip(stored.asked, stored.asked[1:], strict=False))


def test_a_quiet_month_takes_few_questions_and_a_busy_hour_small_parts() -> None:
    quiet = Scripted(0.0)
    assert read(quiet, wanted(31 * 24)) == []
    assert len(quiet.asked) < 31 * 24 + 20
    busy = Scripted(5000.0)
    assert max(map(len, read(busy, wanted(0.2)))) <= 2 * trade_reader.WANTED_ROWS


def test_what_does_not_fit_into_memory_is_read_in_shorter_parts() -> None:
    stored = Scripted(5000.0, busy_ns=5 * HOUR_NS, most=1_000_000)
    assert sum(map(len, read(stored, wanted(5.2)))) >= 0.2 * 3600 * 5000 * 0.99


def test_nothing_is_asked_of_the_time_before_the_first_trade() -> None:
    stored = Scripted(1.0, begins_ns=HOUR_NS)
    read(stored, wanted(2))
    assert stored.asked[0][0] == HOUR_NS


def test_a_place_that_does_not_answer_is_not_left_out_in_silence() -> None:
    stored = Scripted(1.0)
    stored.problem = "connection refused"
    with pytest.raises(Incomplete, match="journal: connection refused"):
        read(stored, wanted(1))
    (kind, content), = told(stored, wanted(1))
    assert kind == b"H" and json.loads(content) == {
        "status": 503, "detail": "a part of the store did not answer: journal: connection refused"}


def test_an_answer_is_its_status_its_pieces_and_its_end() -> None:
    messages = told(Scripted(10.0), wanted(0.01))
    assert messages[0][0] == b"H" and messages[-1] == (b"E", b"")
    assert sum(content.count(b"\n") for kind, content in messages if kind == b"D") == 360
    assert [kind for kind, _ in told(Scripted(0.0), wanted(0.01))] == [b"H", b"E"]


def test_an_unknown_coin_is_not_found() -> None:
    (kind, content), = told(Scripted(1.0), wanted(1, coin="NOPE"))
    assert kind == b"H" and json.loads(content)["status"] == 404


def test_an_answer_that_breaks_off_says_so() -> None:
    stored = Scripted(10.0**9, busy_ns=HOUR_NS, most=1_000_000)
    messages = told(stored, wanted(2, "csv"))
    assert messages[0][0] == b"H" and messages[-1][0] == b"F" and b"memory" in messages[-1][1]


def test_memory_is_limited_for_good(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = ("from pumpwatch.api.trade_reader import limit_memory; limit_memory(300_000_000)\n"
               "try: x = bytearray(400_000_000)\nexcept MemoryError: print('refused')\nbytearray(50_000_000)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"
