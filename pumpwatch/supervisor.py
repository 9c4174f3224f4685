"""Keep the parts of the process running: log a part that fails, with the reason, and start it again.

A part is a function that runs until it is stopped; once it returns, it is done. This module may catch every exception.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import gevent

from pumpwatch.net.backoff import Backoff
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

STEADY_S = 60.0  # a part that ran this long before it failed starts with a fresh back-off


class Supervisor:
    """Runs each part in its own greenlet, and restarts it with back-off."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._parts: dict[str, gevent.Greenlet[..., None]] = {}
        self._stopping = False

    def spawn(self, name: str, body: Callable[[], None]) -> None:
        """Run `body` in a new greenlet until it returns, is killed, or the supervisor stops."""
        self._parts = {name: part for name, part in self._parts.items() if not part.dead}
        self._parts[name] = gevent.spawn(self._keep, name, body)

    def _keep(self, name: str, body: Callable[[], None]) -> None:
        backoff = Backoff(base_s=0.2, cap_s=30.0)
        while not self._stopping:
            started = gevent.get_hub().loop.now()
            try:
                body()
                return
            except Exception as error:
                if gevent.get_hub().loop.now() - started > STEADY_S:
                    backoff.reset()
                wait_s = backoff.next_s()
                self._stats.add("restarts_total", part=name)
                log.exception("part failed part=%s reason=%s restart_in_s=%.1f", name, error, wait_s)
                gevent.sleep(wait_s)

    def stop(self, name: str, timeout_s: float) -> bool:
        """Wait for a part that is ending; return False if it had to be killed after `timeout_s`."""
        part = self._parts.pop(name, None)
        if part is None:
            return True
        part.join(timeout_s)
        if part.dead:
            return True
        log.warning("part did not end in time part=%s timeout_s=%.1f", name, timeout_s)
        part.kill(block=False)
        return False

    def stop_all(self, timeout_s: float) -> None:
        """Kill all running parts; log the names of those that have not ended after `timeout_s`."""
        self._stopping = True
        try:
            gevent.killall(list(self._parts.values()), timeout=timeout_s)
        except gevent.Timeout:
            log.warning("parts did not end in time parts=%s timeout_s=%.1f",
                        ",".join(name for name, part in self._parts.items() if not part.dead), timeout_s)


def guarded(body: Callable[[], None], on_error: Callable[[Exception], None]) -> bool:
    """Run `body` once; if it raises, call `on_error` and return False, so that the caller can go on."""
    try:
        body()
    except Exception as error:
        on_error(error)
        return False
    return True
