"""Report the service's process and state to the service manager: systemd, or another one with its notify protocol.

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
    """Return the address of the manager; empty without one."""
    address = (os.environ if environ is None else environ).get("NOTIFY_SOCKET", "")
    return address if address.startswith(("/", "@")) else ""


def keep_alive(environ: Mapping[str, str] | None = None, every_s: float = ALIVE_S) -> None:
    """Report every 10 s that the hub runs, for the manager's watchdog; return at once without a manager.

    A report that cannot be sent, for example without a free descriptor, does not end the reports: the manager would kill a silent
    process. WATCHDOG_USEC is ignored, because systemd sets it only for the first process of a service, and a process that takes
    over is the child of a reload.
    """
    while _address(environ):
        notify("WATCHDOG=1", environ)
        gevent.sleep(every_s)
