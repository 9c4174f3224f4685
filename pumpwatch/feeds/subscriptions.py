"""Subscription requests of one connection: cut to the venue's limits, matched with their answers, split when refused."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from pumpwatch.model import Control, ControlKind, Venue

ANSWER_WITHIN_S = 15.0


@dataclass(slots=True)
class Request:
    """Symbols to add, or to drop."""

    symbols: list[str]
    add: bool
    sent_at: float = 0.0
    open: set[str] = field(default_factory=set)  # not answered yet, where a venue answers symbol by symbol


class Subscriptions:
    """What is still to be asked, what was asked, and what was granted."""

    def __init__(self, venue: Venue, on_refused: Callable[[str, str], None]) -> None:
        self._venue, self._on_refused = venue, on_refused
        self._waiting: deque[Request] = deque()
        self._asked: dict[int, Request] = {}
        self._next_id = 1
        self._whole: set[str] = set()  # where each request names everything
        self.granted: set[str] = set()

    def want(self, symbols: Iterable[str], add: bool) -> None:
        """Queue symbols, as few messages as the venue's limits allow."""
        wanted = sorted(symbols)
        if self._venue.replaces:
            self._replace(wanted, add)
            return
        step = self._venue.limits.symbols_per_message
        for start in range(0, len(wanted), step):
            self._queue_within_bytes(wanted[start : start + step], add)

    def _replace(self, symbols: Sequence[str], add: bool) -> None:
        """Queue one request for all that is wanted now, in place of any that waits."""
        before = set(self._whole)
        self._whole = before | set(symbols) if add else before - set(symbols)
        if self._whole != before:
            self.granted &= self._whole
            self._waiting.clear()
            if self._whole:  # a request for nothing is none: a connection without symbols stays as it was
                self._waiting.append(Request(sorted(self._whole), True))

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

    @property
    def next_size(self) -> int:
        """How many symbols the next message has."""
        return len(self._waiting[0].symbols)

    def next_text(self, now: float) -> str:
        """Return the next message to send, and take it as sent."""
        request = self._waiting.popleft()
        request.sent_at, request.open = now, set(request.symbols)
        number, self._next_id = self._next_id, self._next_id + 1
        if self._venue.acknowledges:
            self._asked[number] = request
        else:
            self._grant(request.symbols, request.add)
        make = self._venue.subscribe if request.add else self._venue.unsubscribe
        return make(request.symbols, number)

    def overdue(self, now: float) -> bool:
        """Whether an answer is missing for too long."""
        return any(now - request.sent_at > ANSWER_WITHIN_S for request in self._asked.values())

    def answer(self, control: Control) -> None:
        """Take an acknowledgement or a refusal; anything without a known id is not for us.

        A venue that answers symbol by symbol names them; the request is done when each was named.
        """
        number = control.request_id
        request = self._asked.get(number) if number is not None else None
        if request is None or number is None:
            return
        granted = control.kind == ControlKind.ACK
        named = [symbol for symbol in control.symbols if symbol in request.open]
        if granted:
            self._grant(named or list(request.open), request.add)
            request.open.difference_update(named or request.symbols)
        if granted and request.open:
            return
        if not granted and named and len(request.open) > len(named) and self._venue.answers_by_symbol:
            request.open.difference_update(named)
            self._refuse(named, control.reason)
            return
        del self._asked[number]
        if not granted and request.add:
            self._split(sorted(request.open), control)

    def _grant(self, symbols: Sequence[str], add: bool) -> None:
        if add:
            self.granted.update(symbols)
        else:
            self.granted.difference_update(symbols)

    def _refuse(self, symbols: Sequence[str], reason: str) -> None:
        for symbol in symbols:
            self._on_refused(symbol, reason)

    def _split(self, symbols: Sequence[str], control: Control) -> None:
        """Ask again in halves until the symbol the venue does not like stands alone, and leave that one out."""
        named = [symbol for symbol in control.symbols if symbol in symbols]
        if named or len(symbols) == 1:
            self._refuse(named or symbols, control.reason)
            rest = [symbol for symbol in symbols if symbol not in (named or symbols)]
            if rest:
                self._waiting.append(Request(rest, True))
            return
        middle = len(symbols) // 2
        self._waiting.extend((Request(list(symbols[:middle]), True), Request(list(symbols[middle:]), True)))
