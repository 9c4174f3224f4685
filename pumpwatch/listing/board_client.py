"""Poll a notice board politely: one request at a time, ETag, back-off, and fallback addresses.

After a rejection (403, 418, 429) polling pauses for 30 s, then twice as long each time, and at least for `Retry-After`. After
any failure the next address is used; once all of them have failed, polling pauses for 5 s to 60 s. An HTML page, or JSON of
another shape, is a failure and never "no notices".
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from pumpwatch.clock import Clock
from pumpwatch.errors import BadFrame, ServiceUnavailable
from pumpwatch.hookspecs import PolledSource
from pumpwatch.listing.answer_facts import answer_facts
from pumpwatch.listing.listing_ledger import Call, call_here
from pumpwatch.listing.validation import checked_rows
from pumpwatch.net.http import Response
from pumpwatch.net.retry_after import retry_after_s
from pumpwatch.net.texts import masked, one_line

REJECTED = (403, 418, 429)
REJECTED_PAUSE_S, REJECTED_PAUSE_MAX_S = 30.0, 900.0
FAILED_PAUSE_S, FAILED_PAUSE_MAX_S = 5.0, 60.0
JITTER = 0.1


class Fetch(Protocol):
    """GET a URL. Raises ServiceUnavailable without a response."""

    def __call__(self, url: str, headers: Mapping[str, str], /) -> Response: ...


class CheckBody(Protocol):
    """Parse a body with a source's code, and return the validated rows. Raises BadFrame."""

    def __call__(self, source: Any, body: bytes, now_ns: int, /) -> Any: ...


class BoardClient:
    """One polled source. A `url` of the config replaces every address of the source.

    offload: runs the parsing of a list, which may take seconds, outside the hub. check: returns the list's rows.
    """

    def __init__(self, source: PolledSource, fetch: Fetch, clock: Clock, url: str = "", offload: Call = call_here,
                 check: CheckBody = checked_rows) -> None:
        self._source, self._fetch, self._clock, self._offload, self._check = source, fetch, clock, offload, check
        known = (source.url, *source.fallback_urls)
        self._urls = (url,) if url else known
        hosts = {urlsplit(address).hostname for address in known}
        # `Origin` is sent to the source's own hosts only: another host may reject it as a cross-site request
        self._headers = {name: value for name, value in source.headers.items()
                         if name.lower() != "origin" or urlsplit(self._urls[0]).hostname in hosts}
        self.answer: dict[str, Any] = {}  # `answer_facts` of the last answer
        self._url_index = 0
        self._etags: dict[str, str] = {}
        self._new_etag = ""
        self._failures = self._rejections = 0
        self._paused_until_s = 0.0

    @property
    def url(self) -> str:
        """Return the address of the next request."""
        return self._urls[self._url_index]

    def due(self) -> bool:
        """Return whether the board may be polled now."""
        return self._clock.monotonic() >= self._paused_until_s

    def rest_s(self) -> float:
        """Return how many seconds are left of the pause."""
        return max(0.0, self._paused_until_s - self._clock.monotonic())

    def read(self) -> Any:
        """Return the rows, as `check` does; None if nothing has changed.

        On failure, plan the next try and raise ServiceUnavailable.
        """
        headers = dict(self._headers)
        if etag := self._etags.get(self.url):
            headers["If-None-Match"] = etag
        try:
            asked_at_ns = self._clock.now_ns()
            response = self._fetch(self.url, headers)
            self.answer = answer_facts(self.url, response.headers, asked_at_ns, self._clock.now_ns())
            if response.status == 304 and etag:
                rows = None
            elif response.status != 200:
                raise self._rejection(response)
            else:
                rows = self._offload(self._check, self._source, response.body, self._clock.now_ns())
        except (ServiceUnavailable, BadFrame) as error:
            self._failed()
            if isinstance(error, ServiceUnavailable):
                raise
            raise ServiceUnavailable(f"{self._source.name}: {error.message}") from error
        self._failures = self._rejections = 0
        self._new_etag = response.headers.get("ETag", "") if rows is not None else etag or ""
        return rows

    def load(self, url: str) -> bytes:
        """Return the body of another page of the board. Raises ServiceUnavailable for any status but 200."""
        response = self._fetch(url, self._headers)
        if response.status != 200:
            raise ServiceUnavailable(f"{masked(url)} answers {response.status}: {one_line(response.body, 80)}")
        return response.body

    def confirm(self) -> None:
        """Keep the ETag of the last list, whose rows were processed: the board need not send that list again."""
        if self._new_etag:
            self._etags[self.url] = self._new_etag
        else:
            self._etags.pop(self.url, None)

    def _rejection(self, response: Response) -> ServiceUnavailable:
        """Plan the pause after a status other than 200, and return the error."""
        if response.status in REJECTED:
            self._rejections += 1
            last_address = (self._failures + 1) % len(self._urls) == 0
            if response.status != 403 or last_address:  # a firewall may block one address only
                pause_s = min(REJECTED_PAUSE_MAX_S, REJECTED_PAUSE_S * 2 ** min(self._rejections - 1, 16))
                asked_s = retry_after_s(response.status, response.headers.get("Retry-After", ""), self._clock.now_ns())
                self._pause(max(pause_s, asked_s))
        return ServiceUnavailable(f"{masked(self.url)} answers {response.status}: {one_line(response.body, 80)}")

    def _failed(self) -> None:
        self._failures += 1
        rounds, rest = divmod(self._failures, len(self._urls))
        if rest == 0:
            self._pause(min(FAILED_PAUSE_MAX_S, FAILED_PAUSE_S * 2 ** min(rounds - 1, 16)))
        self._url_index = (self._url_index + 1) % len(self._urls)

    def _pause(self, seconds: float) -> None:
        until_s = self._clock.monotonic() + seconds * (1 + JITTER * random.random())
        self._paused_until_s = max(self._paused_until_s, until_s)
