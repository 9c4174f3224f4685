"""Keep answers of a venue's history, so that one request serves all gaps of a symbol whose trades are in its answer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pumpwatch.clock import NS_PER_S
from pumpwatch.pipeline.parse import Parsed
from pumpwatch.venue import HistoryDepth, HistoryQuery

KEPT = 100  # answers per venue, of about 100 kB each
APART_NS = 5 * NS_PER_S  # an answer confirms another one only if they are at least this far apart


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer to a query. asked_ns: the time of the request, by the venue's clock."""

    asked_ns: int
    query: HistoryQuery
    parsed: Parsed


@dataclass(frozen=True, slots=True)
class Oldest:
    """The oldest rows of an answer of newest rows. ids: of these rows. rows: the number of all rows of the answer.

    are_first: the history begins with them.
    """

    asked_ns: int
    ids: list[str]
    rows: int
    are_first: bool = False


class KeptAnswers:
    """The last reusable answer for each symbol, at most KEPT.

    rows_asked_ns: the time of the last request, for any symbol, whose answer had rows: the history worked then.
    """

    def __init__(self) -> None:
        self._by_symbol: dict[str, KeptAnswer] = {}
        self._oldest: dict[str, Oldest] = {}
        self.rows_asked_ns = 0

    def __len__(self) -> int:
        return len(self._by_symbol)

    def find(self, query: HistoryQuery, depth: HistoryDepth, since_ns: int) -> KeptAnswer | None:
        """Return an answer that was requested at `since_ns` or later and has every row that the query asks for, None without one.

        A newer answer of a history without pages would reach less far back.
        """
        answer = self._by_symbol.get(query.symbol)
        if answer is None or answer.asked_ns < since_ns:
            return None
        return answer if not depth.pages or query.first_id >= answer.query.first_id else None

    def keep(self, answer: KeptAnswer, depth: HistoryDepth) -> None:
        """Keep an answer that has passed every check, if it has the newest rows or every trade since an id."""
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
        """Return whether the oldest rows of an answer of newest rows are the first rows of the history.

        Two answers that are not full prove it: the later one has more rows, and the oldest rows are the same. If the history had
        older rows, the oldest rows of the later answer would be newer.
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
