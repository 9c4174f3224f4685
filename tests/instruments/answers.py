"""Answers to the requests for instruments and for 24-hour volumes."""

from __future__ import annotations

import json

from gevent.event import Event

from pumpwatch.venue import HttpRequest, Volumes

VOLUMES = Volumes(HttpRequest("/volumes"), json.loads)


def listing(*symbols: object) -> bytes:
    rows = [{"symbol": symbol, "baseAsset": "BTC", "quoteAsset": "USDT", "status": "TRADING"} for symbol in symbols]
    return json.dumps({"symbols": rows}).encode()


def answering(volumes: object):
    """Return what asks a venue that answers the request for volumes with this, or not at all."""
    def ask(request: HttpRequest) -> bytes:
        if request.path != "/volumes":
            return listing("BTCUSDT", "ETHUSDT", "SOLUSDT")
        if isinstance(volumes, Exception):
            raise volumes
        return json.dumps(volumes).encode()

    return ask


class Answers:
    """A venue that answers the request for its list, and that for volumes as it is told to, once nothing `hangs`."""

    def __init__(self) -> None:
        self.volumes: object = {}
        self.hangs: Event | None = None
        self.asked = 0  # for volumes

    def __call__(self, request: HttpRequest) -> bytes:
        if request.path == "/volumes":
            self.asked += 1
            if self.hangs:
                self.hangs.wait()
        return answering(self.volumes)(request)
