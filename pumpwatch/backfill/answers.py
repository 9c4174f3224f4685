"""Keep answers of a venue's history, so that all gaps of a symbol are served by one request where one answer has their trades."""

from __future__ import annotations

from dataclasses import dataclass

from pumpwatch.pipeline.parse import Parsed
from pumpwatch.venue import HistoryDepth, HistoryQuery

KEPT = 100  # of a venue: about 100 kB each


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a query. asked_ns: when it was asked, by the venue's clock."""

    asked_ns: int
    query: HistoryQuery
    parsed: Parsed


class Answers:
    """The last answer for each symbol that other gaps can use; at most KEPT.

    rows_asked_ns: when the last answer with a row was asked for, of any symbol: since then the history has worked.
    """

    def __init__(self) -> None:
        self._by_symbol: dict[str, Answer] = {}
        self.rows_asked_ns = 0

    def __len__(self) -> int:
        return len(self._by_symbol)

    def find(self, query: HistoryQuery, depth: HistoryDepth, since_ns: int) -> Answer | None:
        """Return an answer that was asked at `since_ns` or later, and has every row of the history that the query asks for.

        Of a history without pages, a newer answer would reach less far back.
        """
        answer = self._by_symbol.get(query.symbol)
        if answer is None or answer.asked_ns < since_ns:
            return None
        return answer if not depth.pages or query.first_id >= answer.query.first_id else None

    def keep(self, answer: Answer, depth: HistoryDepth) -> None:
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

    def drop(self, symbol: str) -> None:
        """Forget a symbol's answer."""
        self._by_symbol.pop(symbol, None)
