"""Subscription requests of one connection: cut to the venue's limits, matched with their answers, split when refused.

A refusal may be about a symbol, or about us: too many requests, a service that is down. Symbols are left out only where
others of their request were granted. A request of which nothing was granted fails the connection, which is
made again later; only when the same symbols are refused once more, and others are not, they are left out.

A refusal may also be about the connection: it holds no more symbols. What it has then stays, nothing more is asked of it, and
the rest is handed back for another connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from pumpwatch.model import Control, ControlKind, Venue

ANSWER_WITHIN_S = 15.0


@dataclass(slots=True)
class Origin:
    """A message as it was first meant, before refusals split it."""

    symbols: set[str]
    late: bool  # the connection had symbols already
    refused: dict[str, str] = field(default_factory=dict)  # symbol -> reason
    granted: int = 0
    named: bool = False  # the venue said which symbols it means


@dataclass(slots=True)
class SubscribeRequest:
    """Symbols to add, or to drop."""

    symbols: list[str]
    add: bool
    origin: Origin
    sent_at: float = 0.0
    open: set[str] = field(default_factory=set)  # not answered yet, where a venue answers symbol by symbol


class Subscriptions:
    """What is still to be asked, what was asked, and what was granted.

    suspects: symbols that made an earlier connection of this feed fail; kept by the feed, added to here. on_full: is told, once
    everything asked was answered, which symbols the connection has no room for, and what the venue said. ever_granted: is added
    to, and outlives the connection.
    """

    def __init__(self, venue: Venue, on_refused: Callable[[str, str], None], suspects: set[str] | None = None,
                 on_full: Callable[[list[str], str], None] = lambda symbols, reason: None,
                 ever_granted: set[str] | None = None) -> None:
        self._venue, self._on_refused, self._on_full = venue, on_refused, on_full
        self._suspects = set() if suspects is None else suspects
        self._ever_granted = set() if ever_granted is None else ever_granted
        self._waiting: deque[SubscribeRequest] = deque()
        self._asked: dict[int, SubscribeRequest] = {}
        self._next_id = 1
        self._whole: set[str] = set()  # where each request names everything
        self._doubtful: dict[str, str] = {}  # refused; left out if anything else is granted
        self._homeless: dict[str, str] = {}  # there is no room for them here
        self.granted: set[str] = set()
        self.failed = ""  # why nothing is granted, though no single symbol is to blame

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
            if self._whole:  # a request for nothing is none; a connection without symbols is closed
                self._queue(sorted(self._whole), True)

    def renew(self, symbol: str) -> None:
        """Queue a symbol that is subscribed once more, as if it were not."""
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
        """Whether something is still to be sent."""
        return bool(self._waiting)

    @property
    def settled(self) -> bool:
        """Whether everything was sent and answered, and some of it granted."""
        return not self._waiting and not self._asked and not self.failed

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
            self._grant(request.symbols, request)
        make = self._venue.subscribe if request.add else self._venue.unsubscribe
        return make(request.symbols, number)

    def overdue(self, now: float) -> bool:
        """Whether an answer is missing for too long."""
        return any(now - request.sent_at > ANSWER_WITHIN_S for request in self._asked.values())

    def answer(self, control: Control) -> None:
        """Take an acknowledgement or a refusal; one that belongs to no request is not for us.

        A venue that answers symbol by symbol names them; the request is done when each was named. Where its answers carry
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
            self._refuse(named, control.reason, request, named=True)
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

    def _refuse(self, symbols: Sequence[str], reason: str, request: SubscribeRequest, named: bool = False) -> None:
        if request.add:
            request.origin.refused.update(dict.fromkeys(symbols, reason))
            request.origin.named |= named

    def _split(self, symbols: Sequence[str], named: Sequence[str], reason: str, request: SubscribeRequest) -> None:
        """Ask again in halves until the symbol the venue does not like stands alone, and leave that one out."""
        if self._venue.replaces and not named and len(symbols) > 1:
            self.failed = reason or "no reason given"  # a half would replace the other half
        elif named and len(named) < len(symbols):  # whoever names one means it
            self._whole.difference_update(named)
            request.origin.symbols -= set(named)
            self._waiting.append(SubscribeRequest([symbol for symbol in symbols if symbol not in named], True, request.origin))
            self._leave_out(dict.fromkeys(named, reason))
        elif named or len(symbols) == 1:
            self._whole.difference_update(symbols)
            self._refuse(symbols, reason, request, named=bool(named))
        else:
            middle = len(symbols) // 2
            halves = (symbols[:middle], symbols[middle:])
            self._waiting.extend(SubscribeRequest(list(half), True, request.origin) for half in halves)

    def _overflow(self, symbols: Sequence[str], reason: str, request: SubscribeRequest) -> None:
        """Hand back what there is no room for, and what is not asked yet; ask for half where nothing is granted so far."""
        if self._venue.replaces and len(symbols) > 1:
            kept = [symbol for symbol in symbols if symbol in self.granted]
            if len(kept) in (0, len(symbols)):
                kept = list(symbols[: len(symbols) // 2])
            self._whole = set(kept)
            self.granted &= self._whole
            request.origin.symbols &= self._whole
            self._waiting.append(SubscribeRequest(kept, True, request.origin))
            self._homeless.update(dict.fromkeys(set(symbols) - self._whole, reason))
        elif len(symbols) > 1 and not self.granted:
            self._split(symbols, (), reason, request)
        else:
            for one in (SubscribeRequest(list(symbols), True, request.origin), *(one for one in self._waiting if one.add)):
                self._homeless.update(dict.fromkeys(one.symbols, reason))
                one.origin.symbols.difference_update(one.symbols)
            self._whole.difference_update(symbols)
            self._waiting = deque(one for one in self._waiting if not one.add)

    def _conclude(self, origin: Origin) -> None:
        """Once all of a message is answered, decide what its refusals mean."""
        refused = origin.refused
        if refused and len(refused) + origin.granted >= len(origin.symbols):
            origin.refused = {}
            if origin.granted or origin.late:
                self._leave_out(refused)
            elif len(refused) == 1 or origin.named or refused.keys() <= self._suspects:
                self._doubtful |= refused
            else:
                self._suspects.update(refused)
                self.failed = next(iter(refused.values())) or "no reason given"
        if self._doubtful and not self._waiting and not self._asked:
            doubtful, self._doubtful = self._doubtful, {}
            if self.granted:
                self._leave_out(doubtful)
            else:
                self.failed = next(iter(doubtful.values())) or "no reason given"
        self._hand_back()

    def _hand_back(self) -> None:
        """Once everything is answered, say what is to go elsewhere; a connection that holds nothing at all is a failed one."""
        if self._homeless and not self._waiting and not self._asked:
            homeless, self._homeless = self._homeless, {}
            reason = next(iter(homeless.values())) or "no reason given"
            if self.granted:
                self._on_full(sorted(homeless), reason)
            else:
                self.failed = reason

    def _leave_out(self, refused: dict[str, str]) -> None:
        for symbol, reason in refused.items():
            self._on_refused(symbol, reason)


def added_bytes(venue: Venue, symbol: str) -> int:
    """Return what subscribing a symbol takes of Limits.connection_bytes."""
    if venue.limits.symbols_per_message == 1:
        return len(venue.subscribe([symbol], 0).encode())
    return len(venue.subscribe([symbol, symbol], 0).encode()) - len(venue.subscribe([symbol], 0).encode())
