"""Tell the service manager (systemd, or anything that speaks its notify protocol) which process is the service, and its state.

The protocol is a datagram to the Unix socket named by NOTIFY_SOCKET, see sd_notify(3). Without that variable nothing is sent.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

import gevent

ALIVE_S = 10.0


def notify(state: str, environ: Mapping[str, str] | None = None) -> bool:
    """Send a state such as `READY=1`; return whether it was sent. A manager that does not answer is ignored."""
    address = _address(environ)
    if not address:
        return False
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to_manager:
        to_manager.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
        return True
    return False


def _address(environ: Mapping[str, str] | None) -> str:
    """Return where the manager listens, empty without one."""
    address = (os.environ if environ is None else environ).get("NOTIFY_SOCKET", "")
    return address if address.startswith(("/", "@")) else ""


def keep_alive(environ: Mapping[str, str] | None = None, every_s: float = ALIVE_S) -> None:
    """Report each 10 s that the hub still turns, for the manager's watchdog; return at once without a manager.

    A report that cannot be sent, for want of a descriptor for example, is followed by the next one: the manager would kill a
    process that fell silent. WATCHDOG_USEC is not asked: a process that takes over is the child of a reload, and systemd gives
    the variable to a service's first process alone.
    """
    while _address(environ):
        notify("WATCHDOG=1", environ)
        gevent.sleep(every_s)
