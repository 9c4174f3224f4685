"""Opening a WebSocket connection: name, TCP or proxy, TLS and handshake within one time."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.allowance import ReadAllowance
from pumpwatch.net.dial import Dial, Place, Resolve, look_up, reason, tls_context
from pumpwatch.net.handshake import shake_hands
from pumpwatch.net.redirects import anywhere, is_public, origin_of, refusal
from pumpwatch.net.stream import Stream
from pumpwatch.net.texts import one_line, shown_url

__all__ = ["Dialer", "tls_context"]

LONGEST_REASON = 300


class Dialer:
    """Opens connections; `timeout_s` is for everything up to the answer of the handshake.

    `proxy` is http://user:pass@host:port, socks5://... or socks5h://...; empty: what the environment says.
    """

    def __init__(self, context: ssl.SSLContext, timeout_s: float, proxy: str = "", resolve: Resolve = look_up) -> None:
        self._dial, self._timeout_s = Dial(context, proxy, resolve), timeout_s

    def open(self, url: str, headers: Mapping[str, str], configured: str = "") -> Stream:
        """Connect, shake hands, and return the stream, released for the sweep.

        `configured` is the address of the config or the plugin where someone else wrote `url`, as in a venue's session: it is
        held to the rule for redirects then. Raises ServiceUnavailable with the reason, whichever step refused.
        """
        stream: Stream | None = None
        name = shown_url(url)
        opened = False
        try:
            secure, host, port = origin_of(url)
            name = f"{host}:{port}"
            if configured and (problem := refusal(configured, url)):
                raise ServiceUnavailable(f"{name}: not connected to: {problem}; configured is {shown_url(configured)}")
            place = Place(secure, host, port, anywhere if _same_place(configured or url, url) else is_public)
            stream, _ = self._dial.open(place, ReadAllowance(self._timeout_s))
            shake_hands(stream, url, headers)
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
