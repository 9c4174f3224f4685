"""Sessions of the API: a browser sends the token once, and a cookie from then on.

Only a hash of a session's id is stored, with a mark computed from the id and the token. So the stored data reveal neither, and
changing the token ends all sessions. Without a shared store, or while it is away, sessions are kept in the memory of the process.
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
AGAIN_S = 1.0  # between two attempts to remove ended sessions from the store
AT_ONCE = 50  # sessions that are removed in one call
MOST = 4096  # sessions that a process remembers; the least recently used go first


class SessionStore(Protocol):
    """A store of sessions that processes share. Every method raises ServiceUnavailable if it does not answer."""

    def put(self, name: str, mark: str, lasts_s: float) -> None:
        """Store a session for `lasts_s` seconds."""

    def renew(self, name: str, lasts_s: float) -> str | None:
        """Return the mark of a session, and keep it for `lasts_s` from now; None if it is unknown."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove sessions."""


def name_of(session: str) -> str:
    """Return the hash under which a session is stored."""
    return hashlib.sha256(session.encode()).hexdigest()


@dataclass(slots=True)
class _Kept:
    """A session in memory. stored: the shared store had it, so it has ended once that store lacks it."""

    ends_at: float
    stored: bool


class Sessions:
    """The sessions of one token. Methods wait for the shared store in the calling greenlet, and do not raise if it is away.

    secure: the API uses TLS, so cookies are sent only over TLS.
    """

    def __init__(self, token: str, clock: Clock, stats: Stats, shared: SessionStore | None = None, *,
                 secure: bool = False) -> None:
        self.token, self.secure = token, secure
        self._clock, self._stats, self._shared = clock, stats, shared
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # the most recently used is the last
        self._ended: OrderedDict[str, float] = OrderedDict()  # still to be removed from the store -> when it expires there
        self._removing: gevent.Greenlet[[], None] | None = None  # removes them once the store is back

    def begin(self) -> str:
        """Return the id of a new session."""
        session = secrets.token_urlsafe(32)
        self._keep(name_of(session), stored=self._put(session))
        self._count("begun")
        return session

    def holds(self, session: str) -> bool:
        """Return whether a session is valid; a valid one lasts LASTS_S from now."""
        valid = bool(self.token and session) and self._valid(session)
        self._count("hit" if valid else "miss")
        return valid

    def end(self, session: str) -> None:
        """End a session. While the store is away it ends only here, and everywhere once the store is back."""
        name = name_of(session)
        known = self._drop(name)
        if self._shared is not None:
            self._ended[name] = self._clock.monotonic() + LASTS_S
            while len(self._ended) > MOST:
                self._ended.popitem(last=False)
            self._remove_ended()
            if self._ended and (self._removing is None or self._removing.dead):
                self._removing = gevent.spawn(self._remove_later)  # another process may get the next request
        self._count("ended" if known else "ended_unknown")

    def _remove_later(self) -> None:
        """Remove ended sessions from the store once it is back."""
        while self._ended:
            gevent.sleep(AGAIN_S)
            now = self._clock.monotonic()
            while self._ended and next(iter(self._ended.values())) <= now:  # expired in the store
                self._ended.popitem(last=False)
            if self._ended:
                self._remove_ended()

    def _valid(self, session: str) -> bool:
        name, now = name_of(session), self._clock.monotonic()
        if self._shared is not None:
            if self._ended:
                self._remove_ended()
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
        """Return whether a session is valid, given its mark in the store."""
        name = name_of(session)
        kept = self._kept.get(name)
        if mark is None and kept is not None and not kept.stored and kept.ends_at > self._clock.monotonic():
            self._keep(name, stored=self._put(session))  # it started while the store was away
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
        """Remove a session from memory and return it, None if it was unknown."""
        found = self._kept.pop(name, None)
        if found is not None:
            self._stats.set("api_sessions", len(self._kept))
        return found

    def _remove_ended(self) -> None:
        """Remove ended sessions from the store; keep them for the next attempt if the store is away."""
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
