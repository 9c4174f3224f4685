"""The subscription requests of one connection: cut to the venue's limits, matched with their answers, split when rejected.

A rejection may be about a symbol, or about us: too many requests, or a service that is down. Symbols are left out only if
others of their request were granted. If a request is rejected as a whole, the connection fails and is opened again later. Its
symbols are left out only if they are rejected again while others are granted.

A rejection may also be about the connection: it is full. Then it keeps the symbols that it has, and the others are handed
back for another connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from pumpwatch.model import Control, ControlKind
from pumpwatch.venue import Venue

ANSWER_WITHIN_S = 15.0


@dataclass(slots=True)
class Origin:
    """A request as it was first sent, before rejections split it."""

    symbols: set[str]
    late: bool  # the connection had symbols already
    rejected: dict[str, str] = field(default_factory=dict)  # symbol -> reason
    granted: int = 0
    named: bool = False  # the venue named the rejected symbols


@dataclass(slots=True)
class SubscribeRequest:
    """A request to subscribe (add) or unsubscribe symbols."""

    symbols: list[str]
    add: bool
    origin: Origin
    sent_at: float = 0.0
    open: set[str] = field(default_factory=set)  # not answered yet, if the venue answers symbol by symbol


class Subscriptions:
    """The requests that wait, the requests without an answer, and the granted symbols of one connection.

    on_rejected: called with each symbol to leave out, and the reason.
    suspects: symbols that made an earlier connection of this feed fail; kept by the feed, extended here.
    on_full: called with the symbols that do not fit on the connection, and the reason, once every request was answered.
    ever_granted: extended here; it outlives the connection.
    """

    def __init__(self, venue: Venue, on_rejected: Callable[[str, str], None], suspects: set[str] | None = None,
                 on_full: Callable[[list[str], str], None] = lambda symbols, reason: None,
                 ever_granted: set[str] | None = None) -> None:
        self._venue, self._on_rejected, self._on_full = venue, on_rejected, on_full
        self._suspects = set() if suspects is None else suspects
        self._ever_granted = set() if ever_granted is None else ever_granted
        self._waiting: deque[SubscribeRequest] = deque()
        self._asked: dict[int, SubscribeRequest] = {}
        self._next_id = 1
        self._whole: set[str] = set()  # all wanted symbols, if each request names everything
        self._undecided: dict[str, str] = {}  # rejected; left out if anything else is granted
        self._overflowing: dict[str, str] = {}  # they do not fit on this connection
        self.granted: set[str] = set()
        self.failed = ""  # why nothing is granted, if no single symbol is the cause

    def want(self, symbols: Iterable[str], add: bool) -> None:
        """Queue symbols in as few messages as the venue's limits allow."""
        wanted = sorted(symbols)
        if self._venue.replaces:
            self._replace(wanted, add)
            return
        step = self._venue.limits.symbols_per_message
        for start in range(0, len(wanted), step):
            self._queue_within_bytes(wanted[start : start + step], add)

    def _replace(self, symbols: Sequence[str], add: bool) -> None:
        """Queue one request for all wanted symbols; it replaces any that waits."""
        before = set(self._whole)
        self._whole = before | set(symbols) if add else before - set(symbols)
        if self._whole != before:
            self.granted &= self._whole
            self._waiting.clear()
            if self._whole:  # an empty request is not sent; a connection without symbols is closed
                self._queue(sorted(self._whole), True)

    def renew(self, symbol: str) -> None:
        """Queue a subscribed symbol again, as if it were not subscribed."""
        if self._venue.replaces:
            self._whole.discard(symbol)
            self._replace([symbol], True)
        else:
            self.want([symbol], add=False)
            self.want([symbol], add=True)

    def _queue_within_bytes(self, symbols: list[str], add: bool) -> None:
        text = (self._venue.subscribe if add else self._venue.unsubscribe)(symbols, 2**31)
        if len(text.encode()) > self._venue.limits.message_bytes and len(symbols) > 1:
            middle = len(symbols) // 2
            self._queue_within_bytes(symbols[:middle], add)
            self._queue_within_bytes(symbols[middle:], add)
        else:
            self._queue(symbols, add)

    def _queue(self, symbols: list[str], add: bool) -> None:
        self._waiting.append(SubscribeRequest(symbols, add, Origin(set(symbols), bool(self.granted))))

    @property
    def waiting(self) -> bool:
        """Return whether any request is still to be sent."""
        return bool(self._waiting)

    @property
    def settled(self) -> bool:
        """Return whether every request was sent and answered, and some of it granted."""
        return not self._waiting and not self._asked and not self.failed

    @property
    def next_size(self) -> int:
        """The number of symbols in the next message."""
        return len(self._waiting[0].symbols)

    def next_text(self, now: float) -> str:
        """Return the next message, and count it as sent."""
        request = self._waiting.popleft()
        request.sent_at, request.open = now, set(request.symbols)
        number, self._next_id = self._next_id, self._next_id + 1
        if self._venue.acknowledges:
            self._asked[number] = request
        else:
            self._grant(request.symbols, request)
        make = self._venue.subscribe if request.add else self._venue.unsubscribe
        return make(request.symbols, number)

    def overdue(self, now: float) -> bool:
        """Return whether an answer is overdue."""
        return any(now - request.sent_at > ANSWER_WITHIN_S for request in self._asked.values())

    def answer(self, control: Control) -> None:
        """Apply an acknowledgement or a rejection; one that belongs to no request is ignored.

        A venue that answers symbol by symbol names the symbols; the request is done when each was named. If its answers carry
        no request id, each symbol belongs to the oldest request that still waits for it.
        """
        if control.request_id is None and self._venue.answers_by_symbol:
            for symbol in control.symbols:
                number = next((number for number, asked in self._asked.items() if symbol in asked.open), None)
                if number is not None:
                    self._answer(number, replace(control, request_id=number, symbols=(symbol,)))
        elif control.request_id in self._asked:
            self._answer(control.request_id, control)

    def _answer(self, number: int, control: Control) -> None:
        request = self._asked[number]
        named = [symbol for symbol in control.symbols if symbol in request.open]
        if control.kind == ControlKind.ACK:
            answered = named or list(request.open)
            self._grant(answered, request)
        elif control.kind == ControlKind.FULL and request.add:
            answered = named or list(request.open)
            self._overflow(sorted(answered), control.reason, request)
        elif named and self._venue.answers_by_symbol:
            answered = named
            self._reject(named, control.reason, request, named=True)
        else:
            answered = list(request.open)
            if request.add:
                self._split(sorted(request.open), named, control.reason, request)
        request.open.difference_update(answered)
        if not request.open:
            del self._asked[number]
            self._conclude(request.origin)

    def _grant(self, symbols: Sequence[str], request: SubscribeRequest) -> None:
        if request.add:
            self.granted.update(symbols)
            self._ever_granted.update(symbols)
            request.origin.granted += len(symbols)
        else:
            self.granted.difference_update(symbols)

    def _reject(self, symbols: Sequence[str], reason: str, request: SubscribeRequest, named: bool = False) -> None:
        if request.add:
            request.origin.rejected.update(dict.fromkeys(symbols, reason))
            request.origin.named |= named

    def _split(self, symbols: Sequence[str], named: Sequence[str], reason: str, request: SubscribeRequest) -> None:
        """Send the request again in halves until the rejected symbol is found, and leave that one out."""
        if self._venue.replaces and not named and len(symbols) > 1:
            self.failed = reason or "no reason given"  # a half would replace the other half
        elif named and len(named) < len(symbols):  # the named symbols are the cause
            self._whole.difference_update(named)
            request.origin.symbols -= set(named)
            self._waiting.append(SubscribeRequest([symbol for symbol in symbols if symbol not in named], True, request.origin))
            self._leave_out(dict.fromkeys(named, reason))
        elif named or len(symbols) == 1:
            self._whole.difference_update(symbols)
            self._reject(symbols, reason, request, named=bool(named))
        else:
            middle = len(symbols) // 2
            halves = (symbols[:middle], symbols[middle:])
            self._waiting.extend(SubscribeRequest(list(half), True, request.origin) for half in halves)

    def _overflow(self, symbols: Sequence[str], reason: str, request: SubscribeRequest) -> None:
        """Hand back the symbols that do not fit and those not sent yet; try half of them if nothing is granted so far."""
        if self._venue.replaces and len(symbols) > 1:
            kept = [symbol for symbol in symbols if symbol in self.granted]
            if len(kept) in (0, len(symbols)):
                kept = list(symbols[: len(symbols) // 2])
            self._whole = set(kept)
            self.granted &= self._whole
            request.origin.symbols &= self._whole
            self._waiting.append(SubscribeRequest(kept, True, request.origin))
            self._overflowing.update(dict.fromkeys(set(symbols) - self._whole, reason))
        elif len(symbols) > 1 and not self.granted:
            self._split(symbols, (), reason, request)
        else:
            unsent = [waiting for waiting in self._waiting if waiting.add]
            for unplaced in (SubscribeRequest(list(symbols), True, request.origin), *unsent):
                self._overflowing.update(dict.fromkeys(unplaced.symbols, reason))
                unplaced.origin.symbols.difference_update(unplaced.symbols)
            self._whole.difference_update(symbols)
            self._waiting = deque(waiting for waiting in self._waiting if not waiting.add)

    def _conclude(self, origin: Origin) -> None:
        """Decide what the rejections of a request mean, once all of it is answered."""
        rejected = origin.rejected
        if rejected and len(rejected) + origin.granted >= len(origin.symbols):
            origin.rejected = {}
            if origin.granted or origin.late:
                self._leave_out(rejected)
            elif len(rejected) == 1 or origin.named or rejected.keys() <= self._suspects:
                self._undecided |= rejected
            else:
                self._suspects.update(rejected)
                self.failed = next(iter(rejected.values())) or "no reason given"
        if self._undecided and not self._waiting and not self._asked:
            undecided, self._undecided = self._undecided, {}
            if self.granted:
                self._leave_out(undecided)
            else:
                self.failed = next(iter(undecided.values())) or "no reason given"
        self._hand_back()

    def _hand_back(self) -> None:
        """Hand back symbols for other connections once every request is answered; without any granted symbol, fail."""
        if self._overflowing and not self._waiting and not self._asked:
            overflowing, self._overflowing = self._overflowing, {}
            reason = next(iter(overflowing.values())) or "no reason given"
            if self.granted:
                self._on_full(sorted(overflowing), reason)
            else:
                self.failed = reason

    def _leave_out(self, rejected: dict[str, str]) -> None:
        for symbol, reason in rejected.items():
            self._on_rejected(symbol, reason)


def added_bytes(venue: Venue, symbol: str) -> int:
    """Return the bytes of Limits.connection_bytes that a subscription to this symbol uses."""
    if venue.limits.symbols_per_message == 1:
        return len(venue.subscribe([symbol], 0).encode())
    return len(venue.subscribe([symbol, symbol], 0).encode()) - len(venue.subscribe([symbol], 0).encode())
