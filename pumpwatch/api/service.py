"""Keep the API listening: a taken port costs only the page, and is retried."""

from __future__ import annotations

import logging

from gevent.event import Event

from pumpwatch.api.access import Access, url_of
from pumpwatch.api.application import Application
from pumpwatch.api.desk import Desk
from pumpwatch.api.guard import Guard
from pumpwatch.api.pages import read_pages
from pumpwatch.api.rate_limits import RateLimits, SharedLimit
from pumpwatch.api.routes import ROUTES
from pumpwatch.api.server import Server

log = logging.getLogger(__name__)

AGAIN_S = 10.0


class Service:
    """The API of one collector. `run` is the body of its greenlet. shared: counts the requests of all collectors, or None."""

    def __init__(self, desk: Desk, access: Access, shared: SharedLimit | None = None) -> None:
        self._desk, self._access, self._shared = desk, access, shared
        self._stopped = Event()
        self.url = ""  # of the page, empty while it is not served

    def run(self) -> None:
        """Serve until `stop`."""
        access, desk = self._access, self._desk
        changing = frozenset((route.method, route.path) for route in ROUTES if route.token)
        guard = Guard(access.hosts, desk.sessions, access.every_request, changing, access.tls is not None)
        pages = desk.offload(read_pages)  # reads and compresses files
        application = Application(desk, ROUTES, pages, guard)
        limits = RateLimits(desk.config.api.requests_per_minute, pages, desk.sessions, desk.clock, desk.stats, self._shared)
        warned = False
        while not self._stopped.is_set():
            server = Server((access.host, access.port), application, desk.stats, limits,
                            connections=desk.config.api.connections, tls=access.tls)
            try:
                server.start()
            except OSError as error:
                if not warned:
                    warned = True
                    log.warning("page not available, recording goes on address=%s reason=%s retry_s=%.0f", access.url,
                                error.strerror or error, AGAIN_S)
                self._stopped.wait(AGAIN_S)
                continue
            self.url = url_of(access.host, server.server_port or 0, access.tls is not None)
            log.info("page %s", self.url)
            try:
                self._stopped.wait()
            finally:
                self.url = ""
                server.stop(timeout=0.2)

    def stop(self) -> None:
        """End `run`."""
        self._stopped.set()
