"""Limit the requests of each client within a sliding minute, in this process or in all processes that share a Redis.

A client is the token, a session, or an address. The page's files and events have a separate limit in the memory of the process,
so that the page stays usable if the API's limit is low. Requests of a page on this machine count towards that limit.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pumpwatch.api.credentials import has_token, session_in
from pumpwatch.api.limits import client_of
from pumpwatch.api.route import Problem
from pumpwatch.api.sessions import Sessions, name_of
from pumpwatch.clock import Clock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.sliding_window import RateVerdict, SlidingWindows
from pumpwatch.stats import Stats

WINDOW_S = 60.0
PAGE_REQUESTS = 600  # for files and events of the page, per address and minute
STREAM = "/api/stream"
MOST_HELD = 4096  # clients that are remembered because they must wait


class SharedLimit(Protocol):
    """Counts the requests of all processes."""

    def take(self, client: str, limit: int, window_s: float) -> RateVerdict:
        """Count a request if it is within the limit. Raises ServiceUnavailable if the shared store does not answer."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request. by: `token`, `session` or `address`. name: the key for counting its requests."""

    by: str
    name: str


@dataclass(frozen=True, slots=True)
class Admission:
    """An admitted request. caller: None if it was not determined. headers: for the answer."""

    caller: Caller | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class RateLimits:
    """The request limit of each client. per_minute: 0 for no limit. pages: URL paths of the page's files."""

    def __init__(self, per_minute: int, pages: Iterable[str], sessions: Sessions, clock: Clock, stats: Stats,
                 shared: SharedLimit | None = None) -> None:
        self._per_minute, self._sessions, self._clock, self._stats, self._shared = per_minute, sessions, clock, stats, shared
        self._pages = frozenset((*pages, STREAM))
        self._own = SlidingWindows(per_minute, WINDOW_S)
        self._page = SlidingWindows(max(PAGE_REQUESTS, per_minute), WINDOW_S)
        self._strangers = SlidingWindows(max(PAGE_REQUESTS, per_minute), WINDOW_S)  # invalid sessions, by address
        self._held: dict[str, float] = {}  # client -> monotonic time until which it is denied

    def admit(self, path: str, headers: Mapping[str, str], address: str) -> Admission:
        """Count and admit a request. Raises Problem (429) if its client exceeds the limit.

        path: without the query. headers: by lower-case name. address: of the sender.
        """
        if not self._per_minute:
            return Admission()
        now = self._clock.monotonic()
        if path in self._pages or (_is_here(address) and headers.get("sec-fetch-site") == "same-origin"):
            return Admission(None, self._limit_headers(self._page.take(client_of(address), now), "page"))
        caller = self.caller(headers, address)
        return Admission(caller, self._limit_headers(self._verdict(caller.name, now), caller.by))

    def caller(self, headers: Mapping[str, str], address: str) -> Caller:
        """Return the sender of a request. If an address sends too many invalid sessions, its sessions are ignored."""
        if has_token(headers.get("authorization", ""), self._sessions.token):
            return Caller("token", "token")
        client, now = client_of(address), self._clock.monotonic()
        session = session_in(headers.get("cookie", ""))
        if session and self._strangers.look(client, now).allowed:
            if self._sessions.holds(session):
                return Caller("session", f"session:{name_of(session)}")
            self._strangers.count_granted(client, now)
        return Caller("address", f"address:{client}")

    def _verdict(self, name: str, now: float) -> RateVerdict:
        """Return whether a client may send a request. The shared store is not asked about a client that must wait."""
        own = self._own.look(name, now)
        if not own.allowed:
            return own
        if self._shared is not None:
            held_s = self._held.get(name, 0.0) - now
            if held_s > 0:
                return RateVerdict(0, own.limit, 0, held_s, max(held_s, own.reset_s))
            self._held.pop(name, None)
            try:
                verdict = self._shared.take(name, self._per_minute, WINDOW_S)
            except ServiceUnavailable:
                self._stats.add("api_limit_checks_total", outcome="away")
            else:
                self._stats.add("api_limit_checks_total", outcome="redis")
                self._learn(name, now, verdict)
                return verdict
        self._stats.add("api_limit_checks_total", outcome="memory")
        return self._own.take(name, now)

    def _learn(self, name: str, now: float, verdict: RateVerdict) -> None:
        if verdict.allowed:
            self._own.count_granted(name, now)
            return
        if len(self._held) >= MOST_HELD:
            self._held = {name: until for name, until in self._held.items() if until > now}
        if len(self._held) < MOST_HELD:
            self._held[name] = now + verdict.wait_s

    def _limit_headers(self, verdict: RateVerdict, by: str) -> dict[str, str]:
        """Return the headers of the answer. Raises Problem for a request beyond the limit."""
        headers = {"X-RateLimit-Limit": str(verdict.limit), "X-RateLimit-Remaining": str(verdict.remaining),
                   "X-RateLimit-Reset": str(math.ceil(verdict.reset_s))}
        if not verdict.allowed:
            self._stats.add("api_limited_total", kind=by)
            whose = {"token": "with the token", "session": "of this session"}.get(by, "from this address")
            raise Problem(429, f"too many requests {whose}", {"Retry-After": str(math.ceil(verdict.wait_s)), **headers})
        return headers


def _is_here(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback
