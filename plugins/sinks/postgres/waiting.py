"""A psycopg connection that waits by the system's own poll, for a limited time.

In a process patched by gevent, psycopg itself waits by gevent's poll, which starts a hub in each thread. It also waits without a
limit, so a suspended server would block a thread forever. The protocol is that of psycopg's `wait_poll` (3.2 and 3.3).
"""

from __future__ import annotations

import time
from typing import Any

import psycopg
from gevent import monkey
from psycopg.waiting import Ready, Wait

_poll = monkey.get_original("select", "poll")
POLLIN, POLLOUT, BROKEN = 1, 4, 8 | 16 | 32  # POLLERR, POLLHUP, POLLNVAL


class PolledConnection(psycopg.Connection[Any]):
    """A connection for native threads. limit_s: the time limit of one step, after which the connection is closed."""

    limit_s = 30.0

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Run one step of the protocol. Raises OperationalError if the server does not answer in time."""

        deadline = time.monotonic() + (self.limit_s if timeout is None else timeout)
        poll = _poll()
        try:
            wanted = next(gen)
            number = self.pgconn.socket
            while True:
                poll.register(number, (POLLIN if wanted & Wait.R else 0) | (POLLOUT if wanted & Wait.W else 0))
                left_s = deadline - time.monotonic()
                events = poll.poll(max(0.0, left_s) * 1000)
                if not events and left_s <= 0:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer within {self.limit_s:.0f} s")
                ready = 0
                for _, event in events:
                    ready |= (Ready.R if event & (POLLIN | BROKEN) else 0) | (Ready.W if event & (POLLOUT | BROKEN) else 0)
                ready &= int(wanted)
                if ready:
                    wanted = gen.send(Ready(ready))
        except StopIteration as stop:
            return stop.value
