"""Sessions of the API: a browser gives the token once, and a cookie from then on.

Only a hash of a session's id is kept, with a mark that is made of the id and the token. So whoever reads what is kept can make
neither of the two, and a session ends when the token is changed. Without a shared store, or while it is away, sessions live in
the memory of the process.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import gevent

from pumpwatch.clock import Clock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.stats import Stats

LASTS_S = 24 * 3600.0  # after its last use
AGAIN_S = 1.0  # between two tries to have the store forget what ended while it was away
AT_ONCE = 50  # that the store forgets in one call
MOST = 4096  # that a process remembers; those that were used longest ago go first


class SessionStore(Protocol):
    """The store of sessions that several processes share. Every method raises ServiceUnavailable where it does not answer."""

    def put(self, name: str, mark: str, lasts_s: float) -> None:
        """Keep a session for so long."""

    def renew(self, name: str, lasts_s: float) -> str | None:
        """Return the mark of a session, and keep it for so long from now; None where it is not known."""

    def remove(self, names: Iterable[str]) -> None:
        """Forget sessions."""


def name_of(session: str) -> str:
    """Return the hash by which a session is kept."""
    return hashlib.sha256(session.encode()).hexdigest()


@dataclass(slots=True)
class _Kept:
    """A session in memory. stored: the shared store had it, so it is over once that store lacks it."""

    ends_at: float
    stored: bool


class Sessions:
    """The sessions of one token. Methods wait in the calling greenlet for the shared store, and raise nothing where it is away.

    secure: the API is behind TLS, so that cookies may cross nothing else.
    """

    def __init__(self, token: str, clock: Clock, stats: Stats, shared: SessionStore | None = None, *,
                 secure: bool = False) -> None:
        self.token, self.secure = token, secure
        self._clock, self._stats, self._shared = clock, stats, shared
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # the one that was used last is the last
        self._ended: OrderedDict[str, float] = OrderedDict()  # that the store does not know of yet
        self._telling: gevent.Greenlet[[], None] | None = None  # tells it once it is back

    def begin(self) -> str:
        """Return the id of a new session."""
        session = secrets.token_urlsafe(32)
        self._keep(name_of(session), stored=self._put(session))
        self._count("begun")
        return session

    def holds(self, session: str) -> bool:
        """Return whether a session is valid, and let it last LASTS_S from now where it is."""
        valid = bool(self.token and session) and self._valid(session)
        self._count("hit" if valid else "miss")
        return valid

    def end(self, session: str) -> None:
        """End a session. While the store is away it ends here, and everywhere once the store is back."""
        name = name_of(session)
        known = self._drop(name)
        if self._shared is not None:
            self._ended[name] = self._clock.monotonic() + LASTS_S
            while len(self._ended) > MOST:
                self._ended.popitem(last=False)
            self._forget_ended()
            if self._ended and (self._telling is None or self._telling.dead):
                self._telling = gevent.spawn(self._tell)  # no request may come here before one does elsewhere
        self._count("ended" if known else "ended_unknown")

    def _tell(self) -> None:
        """Have the store forget what ended, once it is back."""
        while self._ended:
            gevent.sleep(AGAIN_S)
            now = self._clock.monotonic()
            while self._ended and next(iter(self._ended.values())) <= now:  # it has forgotten that by itself
                self._ended.popitem(last=False)
            if self._ended:
                self._forget_ended()

    def _valid(self, session: str) -> bool:
        name, now = name_of(session), self._clock.monotonic()
        if self._shared is not None:
            if self._ended:
                self._forget_ended()
            if name in self._ended:
                return False
            try:
                mark = self._shared.renew(name, LASTS_S)
            except ServiceUnavailable:
                self._count("away")
            else:
                return self._judge(session, mark)
        kept = self._kept.get(name)
        if kept is None or kept.ends_at <= now:
            self._drop(name)
            return False
        self._keep(name, stored=kept.stored)
        return True

    def _judge(self, session: str, mark: str | None) -> bool:
        """Return whether a session is valid by what the store says of it."""
        name = name_of(session)
        kept = self._kept.get(name)
        if mark is None and kept is not None and not kept.stored and kept.ends_at > self._clock.monotonic():
            self._keep(name, stored=self._put(session))  # it began while the store was away
            return True
        if mark is None or not hmac.compare_digest(mark.encode(), self._mark(session).encode()):
            self._drop(name)
            return False
        self._keep(name, stored=True)
        return True

    def _mark(self, session: str) -> str:
        return hmac.new(session.encode(), self.token.encode(), hashlib.sha256).hexdigest()

    def _put(self, session: str) -> bool:
        if self._shared is None:
            return False
        try:
            self._shared.put(name_of(session), self._mark(session), LASTS_S)
        except ServiceUnavailable:
            self._count("away")
            return False
        return True

    def _keep(self, name: str, *, stored: bool) -> None:
        self._kept.pop(name, None)
        self._kept[name] = _Kept(self._clock.monotonic() + LASTS_S, stored)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)
        self._stats.set("api_sessions", len(self._kept))

    def _drop(self, name: str) -> _Kept | None:
        """Forget a session here; return what was known of it."""
        found = self._kept.pop(name, None)
        if found is not None:
            self._stats.set("api_sessions", len(self._kept))
        return found

    def _forget_ended(self) -> None:
        """Have the store forget what ended, and remember it for longer where it is away."""
        assert self._shared is not None
        names = list(self._ended)[:AT_ONCE]
        try:
            self._shared.remove(names)
        except ServiceUnavailable:
            self._count("away")
            return
        for name in names:
            self._ended.pop(name, None)

    def _count(self, outcome: str) -> None:
        self._stats.add("api_session_events_total", outcome=outcome)
