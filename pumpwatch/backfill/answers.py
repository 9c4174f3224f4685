"""Keep answers of a venue's history, so that all gaps of a symbol are served by one request where one answer has their trades."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pumpwatch.clock import NS_PER_S
from pumpwatch.pipeline.parse import Parsed
from pumpwatch.venue import HistoryDepth, HistoryQuery

KEPT = 100  # of a venue: about 100 kB each
APART_NS = 5 * NS_PER_S  # two answers are so far apart at least if one is to confirm the other


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer to a query. asked_ns: when it was asked, by the venue's clock."""

    asked_ns: int
    query: HistoryQuery
    parsed: Parsed


@dataclass(frozen=True, slots=True)
class Oldest:
    """The oldest rows of an answer with the newest rows: their ids, all its rows, and whether the history begins with them."""

    asked_ns: int
    ids: list[str]
    rows: int
    are_first: bool = False


class KeptAnswers:
    """The last answer for each symbol that other gaps can use; at most KEPT.

    rows_asked_ns: when the last answer with a row was asked for, of any symbol: since then the history has worked.
    """

    def __init__(self) -> None:
        self._by_symbol: dict[str, KeptAnswer] = {}
        self._oldest: dict[str, Oldest] = {}
        self.rows_asked_ns = 0

    def __len__(self) -> int:
        return len(self._by_symbol)

    def find(self, query: HistoryQuery, depth: HistoryDepth, since_ns: int) -> KeptAnswer | None:
        """Return an answer that was asked at `since_ns` or later, and has every row of the history that the query asks for.

        Of a history without pages, a newer answer would reach less far back.
        """
        answer = self._by_symbol.get(query.symbol)
        if answer is None or answer.asked_ns < since_ns:
            return None
        return answer if not depth.pages or query.first_id >= answer.query.first_id else None

    def keep(self, answer: KeptAnswer, depth: HistoryDepth) -> None:
        """Keep an answer that has passed every check: the newest rows, or every trade from an id on."""
        query, rows = answer.query, len(answer.parsed.batch)
        if depth.pages:
            onwards = depth.by_id and query.last_id < 0 and (query.first_id >= 0 or not depth.by_time)
            useful = onwards and 2 * rows < depth.rows_per_request  # a fuller one may be cut off
        else:
            useful = rows > 0
        if useful:
            self._by_symbol[query.symbol] = answer
            if len(self._by_symbol) > KEPT:
                del self._by_symbol[next(iter(self._by_symbol))]

    def begins(self, answer: KeptAnswer, depth: HistoryDepth) -> bool:
        """Return whether the oldest rows of an answer with the newest rows are the first ones of the history.

        That takes two answers that are not full: the later one has more rows, and the oldest are the same. If the history had
        older rows than these, the newest ones that it gives would have moved on.
        """
        batch, symbol = answer.parsed.batch, answer.query.symbol
        if depth.pages or not 0 < len(batch) < depth.rows_per_request:
            return False
        ids = sorted(batch.take(batch.timestamp == batch.timestamp.min()).id_texts())
        before = self._oldest.get(symbol)
        if before is None or before.ids != ids:
            self._oldest[symbol] = Oldest(answer.asked_ns, ids, len(batch))
        elif len(batch) > before.rows and answer.asked_ns >= before.asked_ns + APART_NS:
            self._oldest[symbol] = replace(before, are_first=True)
        return self._oldest[symbol].are_first

    def drop(self, symbol: str) -> None:
        """Forget a symbol's answer."""
        self._by_symbol.pop(symbol, None)
