"""Opens WebSocket connections: name lookup, TCP or proxy, TLS and handshake, with one deadline."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.allowance import ReadAllowance
from pumpwatch.net.dial import Destination, Resolve, StreamDialer, look_up, reason, tls_context
from pumpwatch.net.handshake import shake_hands
from pumpwatch.net.redirects import anywhere, is_public, origin_of, redirect_problem
from pumpwatch.net.stream import Stream
from pumpwatch.net.texts import one_line, shown_url

__all__ = ["Dialer", "tls_context"]

LONGEST_REASON = 300


class Dialer:
    """Opens WebSocket connections.

    timeout_s: for everything up to the handshake's answer.
    proxy: http://user:pass@host:port, socks5://... or socks5h://...; empty: the environment's proxy settings.
    """

    def __init__(self, context: ssl.SSLContext, timeout_s: float, proxy: str = "", resolve: Resolve = look_up) -> None:
        self._streams, self._timeout_s = StreamDialer(context, proxy, resolve), timeout_s

    def open(self, url: str, headers: Mapping[str, str], configured: str = "", avoid: str = "") -> Stream:
        """Connect, complete the handshake, and return the stream, released for the sweep.

        configured: the address from the configuration or the plugin, if someone else wrote `url` (as in a venue's session);
        the rules for redirects then apply to `url`. avoid: an IP address that is used only if the host has no other. Raises
        ServiceUnavailable with the reason of the failed step.
        """
        stream: Stream | None = None
        name = shown_url(url)
        opened = False
        try:
            secure, host, port = origin_of(url)
            name = f"{host}:{port}"
            if configured and (problem := redirect_problem(configured, url)):
                raise ServiceUnavailable(f"{name}: not connected to: {problem}; configured is {shown_url(configured)}")
            destination = Destination(secure, host, port, anywhere if _same_place(configured or url, url) else is_public,
                                      avoid)
            stream, peer = self._streams.open(destination, ReadAllowance(self._timeout_s))
            shake_hands(stream, url, headers)
            stream.peer = peer
            stream.release()
            opened = True
            return stream
        except (OSError, ValueError) as error:
            raise ServiceUnavailable(f"{name}: {one_line(reason(error), LONGEST_REASON)}") from error
        finally:
            if stream is not None and not opened:
                stream.close()


def _same_place(configured: str, url: str) -> bool:
    return urlsplit(configured).netloc == urlsplit(url).netloc
