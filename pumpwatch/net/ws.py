"""Opening a WebSocket connection: TCP or proxy, TLS, handshake."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import websocket
from requests.utils import get_environ_proxies

# The tunnel through a proxy is not part of websocket-client's public surface; with `socket=` given it makes none.
from websocket._http import connect as connect_through
from websocket._http import proxy_info
from websocket._socket import sock_opt

from pumpwatch.errors import ConfigError, ServiceUnavailable
from pumpwatch.net.stream import PlainStream, Stream, TlsStream


@dataclass(frozen=True, slots=True)
class Dialer:
    """How this process reaches the outside: authorities it trusts, proxy, patience."""

    context: ssl.SSLContext
    timeout_s: float
    proxy: str = ""  # http://user:pass@host:port, socks5://...; empty: what the environment says

    def open(self, url: str, headers: Mapping[str, str]) -> Stream:
        """Connect, shake hands, and return the stream, released for the sweep.

        Raises ServiceUnavailable with the reason, whichever step refused.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        secure = parts.scheme == "wss"
        port = parts.port or (443 if secure else 80)
        stream: Stream | None = None
        sock: socket.socket | None = None
        try:
            sock = self._tcp(url, host, port)
            sock.settimeout(self.timeout_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            stream = TlsStream(sock, self.context, host) if secure else PlainStream(sock)
            shaker = websocket.WebSocket()
            shaker.connect(url, socket=stream, header=dict(headers), timeout=self.timeout_s,  # type: ignore[no-untyped-call]
                           redirect_limit=0, suppress_origin=True)
            stream.release()
            return stream
        except (OSError, ssl.SSLError, websocket.WebSocketException, ValueError) as error:
            if stream or sock:
                (stream or sock).close()  # type: ignore[union-attr]
            raise ServiceUnavailable(f"{host}:{port}: {_reason(error)}") from error

    def _tcp(self, url: str, host: str, port: int) -> socket.socket:
        web_url = url.replace("ws", "http", 1)
        proxy = self.proxy or get_environ_proxies(web_url).get(urlsplit(web_url).scheme, "")
        if not proxy:
            return socket.create_connection((host, port), self.timeout_s)
        via = urlsplit(proxy)
        auth = (via.username, via.password or "") if via.username else None
        options = sock_opt(None, None)
        options.timeout = self.timeout_s
        info = proxy_info(  # type: ignore[no-untyped-call]
            http_proxy_host=via.hostname, http_proxy_port=via.port, http_proxy_auth=auth, proxy_type=via.scheme,
            http_proxy_timeout=self.timeout_s)
        sock: socket.socket = connect_through(f"ws://{host}:{port}/", options, info, None)[0]
        return sock


def tls_context(ca_file: str = "") -> ssl.SSLContext:
    """Return a client context that trusts the system's authorities, and those in `ca_file`.

    Raises ConfigError where the file cannot be used.
    """
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"net.ca_file: {ca_file}: {error.strerror or error}",
                              "give a PEM file with the certificate of the authority") from error
    return context


def _reason(error: Exception) -> str:
    if isinstance(error, websocket.WebSocketBadStatusException):
        return f"the handshake was refused with HTTP {error.status_code}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return str(error) or type(error).__name__
