"""Subscription requests of one connection: cut to the venue's limits, matched with their answers, split when refused."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pumpwatch.model import Control, ControlKind, Venue

ANSWER_WITHIN_S = 15.0


@dataclass(slots=True)
class Request:
    """Symbols to add, or to drop."""

    symbols: list[str]
    add: bool
    sent_at: float = 0.0


class Subscriptions:
    """What is still to be asked, what was asked, and what was granted."""

    def __init__(self, venue: Venue, on_refused: Callable[[str, str], None]) -> None:
        self._venue, self._on_refused = venue, on_refused
        self._waiting: deque[Request] = deque()
        self._asked: dict[int, Request] = {}
        self._next_id = 1
        self.granted: set[str] = set()

    def want(self, symbols: Iterable[str], add: bool) -> None:
        """Queue symbols, as few messages as the venue's limits allow."""
        wanted = sorted(symbols)
        step = self._venue.limits.symbols_per_message
        for start in range(0, len(wanted), step):
            self._queue_within_bytes(wanted[start : start + step], add)

    def _queue_within_bytes(self, symbols: list[str], add: bool) -> None:
        text = (self._venue.subscribe if add else self._venue.unsubscribe)(symbols, 2**31)
        if len(text.encode()) > self._venue.limits.message_bytes and len(symbols) > 1:
            middle = len(symbols) // 2
            self._queue_within_bytes(symbols[:middle], add)
            self._queue_within_bytes(symbols[middle:], add)
        else:
            self._waiting.append(Request(symbols, add))

    @property
    def waiting(self) -> bool:
        """Whether something is still to be sent."""
        return bool(self._waiting)

    @property
    def settled(self) -> bool:
        """Whether everything was sent and answered."""
        return not self._waiting and not self._asked

    def next_text(self, now: float) -> str:
        """Return the next message to send, and take it as sent."""
        request = self._waiting.popleft()
        request.sent_at = now
        number, self._next_id = self._next_id, self._next_id + 1
        self._asked[number] = request
        make = self._venue.subscribe if request.add else self._venue.unsubscribe
        return make(request.symbols, number)

    def overdue(self, now: float) -> bool:
        """Whether an answer is missing for too long."""
        return any(now - request.sent_at > ANSWER_WITHIN_S for request in self._asked.values())

    def answer(self, control: Control) -> None:
        """Take an acknowledgement or a refusal; anything without a known id is not for us."""
        request = self._asked.pop(control.request_id, None) if control.request_id is not None else None
        if request is None:
            return
        if control.kind == ControlKind.ACK:
            if request.add:
                self.granted.update(request.symbols)
            else:
                self.granted.difference_update(request.symbols)
        elif request.add:
            self._split(request.symbols, control)

    def _split(self, symbols: Sequence[str], control: Control) -> None:
        """Ask again in halves until the symbol the venue does not like stands alone, and leave that one out."""
        named = [symbol for symbol in control.symbols if symbol in symbols]
        if named or len(symbols) == 1:
            for symbol in named or symbols:
                self._on_refused(symbol, control.reason)
            rest = [symbol for symbol in symbols if symbol not in (named or symbols)]
            if rest:
                self._waiting.append(Request(rest, True))
            return
        middle = len(symbols) // 2
        self._waiting.extend((Request(list(symbols[:middle]), True), Request(list(symbols[middle:]), True)))
