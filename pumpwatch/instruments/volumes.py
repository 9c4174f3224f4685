"""What traded lately on a venue that tells it apart from its list: asked for beside the list, which waits little for it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping

import gevent

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.instruments.lists import fetch_volumes
from pumpwatch.model import HttpRequest, Instrument, Venue

log = logging.getLogger(__name__)

WITHIN_S = 5.0  # after the list: what comes later balances the connections of newcomers only


class LatestVolumes:
    """The volumes of one venue. What was told last holds until it is told anew; trouble is said once, and its end."""

    def __init__(self, venue: Venue, ask: Callable[[HttpRequest], bytes]) -> None:
        self._venue, self._ask = venue, ask
        self._told: Mapping[str, float] = {}
        self._trouble = ""
        self._asking: gevent.Greenlet[..., None] | None = None

    def begin(self) -> None:
        """Ask for them, unless the last request is still on its way."""
        if self._venue.volumes and (self._asking is None or self._asking.ready()):
            self._asking = gevent.spawn(self._fetch)

    def put_on(self, listed: Iterable[Instrument], within_s: float | None = WITHIN_S) -> list[Instrument]:
        """Return the instruments with what is known by then of their volumes; None waits for as long as it takes."""
        if self._asking:
            self._asking.join(within_s)
            if not self._asking.ready():
                self._tell(f"no answer within {within_s:g} s")
        return [dataclasses.replace(one, volume=self._told[one.symbol]) if one.symbol in self._told else one for one in listed]

    def stop(self) -> None:
        """Wait for no answer any more."""
        if self._asking:
            self._asking.kill(block=False)

    def _fetch(self) -> None:
        assert self._venue.volumes is not None
        try:
            self._told = {**self._told, **fetch_volumes(self._venue.volumes, self._ask)}
        except ServiceUnavailable as error:
            self._tell(error.message)
        else:
            self._tell("")

    def _tell(self, trouble: str) -> None:
        if trouble and not self._trouble:
            log.warning("volumes are not known venue=%s reason=%s", self._venue.name, trouble)
        elif self._trouble and not trouble:
            log.info("volumes are known again venue=%s", self._venue.name)
        self._trouble = trouble
