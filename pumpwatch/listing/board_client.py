"""Ask a notice board, politely: one request at a time, ETag, back-off, and a second address where there is one.

A refusal (429, 403) is answered by resting 30 s, then twice as long each time, never shorter than `Retry-After`. Any
failure moves on to the next known address; only when all have failed in turn do we rest for it, 5 s to 60 s.
An HTML page or JSON of another shape is a failure, never "no notices".
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

from pumpwatch.clock import Clock
from pumpwatch.errors import BadFrame, ServiceUnavailable
from pumpwatch.hookspecs import ListingSource
from pumpwatch.listing.border import NoticeRows, rows_of
from pumpwatch.listing.memory import Call, call_here
from pumpwatch.net.retry_after import retry_after_s
from pumpwatch.net.texts import masked, one_line

REFUSED = (403, 418, 429)
REST_REFUSED_S, REST_REFUSED_MOST_S = 30.0, 900.0
REST_FAILED_S, REST_FAILED_MOST_S = 5.0, 60.0
JITTER = 0.1


class Response(Protocol):
    """An HTTP answer; header names are looked up case-insensitively."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


class Fetch(Protocol):
    """GET a URL. Raises ServiceUnavailable when no answer comes."""

    def __call__(self, url: str, headers: Mapping[str, str], /) -> Response: ...


class BoardClient:
    """One notice board. `url` of the config takes the place of all that the source knows.

    think runs what takes time where it holds up nobody: a list of many thousand rows is read in seconds.
    """

    def __init__(self, source: ListingSource, fetch: Fetch, clock: Clock, url: str = "", think: Call = call_here) -> None:
        self._source, self._fetch, self._clock, self._think = source, fetch, clock, think
        own = (source.url, *source.fallback_urls)
        self._urls = (url,) if url else own
        hosts = {urlsplit(one).hostname for one in own}
        # `Origin` is for the hosts that the source names: another one may treat a browser's cross-site request worse
        self._headers = {name: value for name, value in source.headers.items()
                         if name.lower() != "origin" or urlsplit(self._urls[0]).hostname in hosts}
        self._at = 0
        self._etags: dict[str, str] = {}
        self._new_etag = ""
        self._failures = self._refusals = 0
        self._rest_until = 0.0

    @property
    def url(self) -> str:
        """Return the address that is asked next."""
        return self._urls[self._at]

    def due(self) -> bool:
        """Return whether the board may be asked now."""
        return self._clock.monotonic() >= self._rest_until

    def rest_s(self) -> float:
        """Return how many seconds the board is left alone from now on."""
        return max(0.0, self._rest_until - self._clock.monotonic())

    def read(self) -> NoticeRows | None:
        """Return the rows, or None where nothing has changed. Raises ServiceUnavailable and plans the next try."""
        headers = dict(self._headers)
        if etag := self._etags.get(self.url):
            headers["If-None-Match"] = etag
        try:
            answer = self._fetch(self.url, headers)
            if answer.status == 304 and etag:
                rows = None
            elif answer.status != 200:
                raise self._refused(answer)
            else:
                rows = self._think(rows_of, self._source, answer.body, self._clock.now_ns())
        except (ServiceUnavailable, BadFrame) as error:
            self._failed()
            if isinstance(error, ServiceUnavailable):
                raise
            raise ServiceUnavailable(f"{self._source.name}: {error.message}") from error
        self._failures = self._refusals = 0
        self._new_etag = answer.headers.get("ETag", "") if rows is not None else etag or ""
        return rows

    def taken(self) -> None:
        """Say that the last rows have been dealt with: from now on the same list need not be sent again."""
        if self._new_etag:
            self._etags[self.url] = self._new_etag
        else:
            self._etags.pop(self.url, None)

    def _refused(self, answer: Response) -> ServiceUnavailable:
        if answer.status in REFUSED:
            self._refusals += 1
            last_address = (self._failures + 1) % len(self._urls) == 0
            if answer.status != 403 or last_address:  # a firewall may stand before one address alone
                rest = min(REST_REFUSED_MOST_S, REST_REFUSED_S * 2 ** min(self._refusals - 1, 16))
                asked = retry_after_s(answer.status, answer.headers.get("Retry-After", ""), self._clock.now_ns())
                self._rest(max(rest, asked))
        return ServiceUnavailable(f"{masked(self.url)} answers {answer.status}: {one_line(answer.body, 80)}")

    def _failed(self) -> None:
        self._failures += 1
        rounds, rest = divmod(self._failures, len(self._urls))
        if rest == 0:
            self._rest(min(REST_FAILED_MOST_S, REST_FAILED_S * 2 ** min(rounds - 1, 16)))
        self._at = (self._at + 1) % len(self._urls)

    def _rest(self, seconds: float) -> None:
        until = self._clock.monotonic() + seconds * (1 + JITTER * random.random())
        self._rest_until = max(self._rest_until, until)
