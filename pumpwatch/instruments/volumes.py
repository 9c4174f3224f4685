"""Fetch 24-hour volumes for venues that publish them separately from their list. The list waits for them only briefly."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping

import gevent

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.instruments.lists import fetch_volumes
from pumpwatch.model import Instrument
from pumpwatch.venue import HttpRequest, Venue

log = logging.getLogger(__name__)

WITHIN_S = 5.0  # after the list; later volumes only balance the connections of new symbols


class SeparateVolumes:
    """The 24-hour volumes of one venue. A volume stays until a newer one comes; problems are logged when they begin and end."""

    def __init__(self, venue: Venue, ask: Callable[[HttpRequest], bytes]) -> None:
        self._venue, self._ask = venue, ask
        self._known: Mapping[str, float] = {}
        self._problem = ""
        self._request: gevent.Greenlet[..., None] | None = None

    def begin(self) -> None:
        """Request the volumes, unless a request is running."""
        if self._venue.volumes and (self._request is None or self._request.ready()):
            self._request = gevent.spawn(self._fetch)

    def added_to(self, listed: Iterable[Instrument], within_s: float | None = WITHIN_S) -> list[Instrument]:
        """Wait up to `within_s` (None: without limit) for the answer, then return the instruments with their known volumes."""
        if self._request:
            self._request.join(within_s)
            if not self._request.ready():
                self._report(f"no answer within {within_s:g} s")
        return [dataclasses.replace(instrument, volume=self._known[instrument.symbol])
                if instrument.symbol in self._known else instrument for instrument in listed]

    def stop(self) -> None:
        """Abort a running request."""
        if self._request:
            self._request.kill(block=False)

    def _fetch(self) -> None:
        assert self._venue.volumes is not None
        try:
            self._known = {**self._known, **fetch_volumes(self._venue.volumes, self._ask)}
        except ServiceUnavailable as error:
            self._report(error.message)
        else:
            self._report("")

    def _report(self, problem: str) -> None:
        if problem and not self._problem:
            log.warning("24-hour volumes are unavailable venue=%s reason=%s", self._venue.name, problem)
        elif self._problem and not problem:
            log.info("24-hour volumes are available again venue=%s", self._venue.name)
        self._problem = problem
