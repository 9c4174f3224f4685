"""From a host and a port to a stream: name, TCP, proxy, TLS, for WebSocket and REST alike.

All of it happens under one allowance. A name is looked up once at a time: a resolver that hangs on it then holds one of
the threads that look names up, however many connections wait for it.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gevent

from pumpwatch.errors import ConfigError
from pumpwatch.net.allowance import ReadAllowance
from pumpwatch.net.heads import BadAnswer
from pumpwatch.net.proxy import Proxies, Proxy
from pumpwatch.net.redirects import MayReach, anywhere, is_ip, looks_like_ip
from pumpwatch.net.stream import PlainStream, Stream
from pumpwatch.net.tunnel import tunnel

Resolve = Callable[[str, int], Sequence[str]]  # (host, port) to IP addresses; raises OSError


class NotReached(OSError):
    """A name leads where it may not."""


def look_up(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host, in the resolver's order. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


@dataclass(frozen=True, slots=True)
class Place:
    """What is to be reached, and by which addresses it may be."""

    secure: bool
    host: str
    port: int
    may_reach: MayReach = anywhere


class Dial:
    """How this process reaches the outside: authorities it trusts, proxies, names."""

    def __init__(self, context: ssl.SSLContext, proxy: str = "", resolve: Resolve = look_up) -> None:
        self._context, self._resolve = context, resolve
        self._proxies = Proxies(proxy)
        self._asked: dict[tuple[str, int], gevent.Greenlet[[str, int], Sequence[str] | OSError]] = {}

    def proxy_for(self, place: Place) -> Proxy | None:
        """Return the proxy that leads there, None for the direct way."""
        return self._proxies.way_to(place.host, place.port, place.secure)

    def open(self, place: Place, allowance: ReadAllowance, absolute: bool = False) -> tuple[Stream, str]:
        """Return a stream to `place`, TLS included, and the IP address at its other end (empty: a proxy knows).

        `absolute` leaves out the tunnel through an HTTP proxy where there is no TLS: the request names the whole URL.
        Raises OSError (Overdue, TooMuch, BadAnswer, NotReached among them) and ssl.SSLError.
        """
        proxy = self.proxy_for(place)
        if proxy is None:
            sock, peer = self._tcp(place.host, place.port, place.may_reach, allowance)
        else:
            try:
                sock, peer = self._tcp(proxy.host, proxy.port, anywhere, allowance)[0], ""
            except OSError as error:
                raise BadAnswer(f"the proxy {proxy} is not reached: {reason(error)}") from error
        stream: Stream | None = None
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            plain = PlainStream(sock, allowance)
            if proxy is not None and not (absolute and proxy.scheme == "http" and not place.secure):
                tunnel(plain, proxy, self._name_for(proxy, place, allowance), place.port)
            stream = plain.secured(self._context, place.host) if place.secure else plain
        finally:
            if stream is None:
                sock.close()
        return stream, peer

    def _name_for(self, proxy: Proxy, place: Place, allowance: ReadAllowance) -> str:
        """Return the host as the proxy is told it."""
        if looks_like_ip(place.host) or proxy.scheme == "socks5":
            return self._addresses(place.host, place.port, place.may_reach, allowance)[0]
        return place.host

    def _tcp(self, host: str, port: int, may_reach: MayReach, allowance: ReadAllowance) -> tuple[socket.socket, str]:
        addresses = self._addresses(host, port, may_reach, allowance)
        allowance.begin("connecting")
        for waiting, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                return _connected(address, port, allowance.left_s() / waiting), address
            except OSError as error:
                if waiting == 1:
                    raise allowance.overdue() if isinstance(error, TimeoutError) else error from None
        raise AssertionError("a name without an address is an error of its lookup")

    def _addresses(self, host: str, port: int, may_reach: MayReach, allowance: ReadAllowance) -> Sequence[str]:
        found = [host] if is_ip(host) else self._found(host, port, allowance)
        allowed = [address for address in found if may_reach(address)]
        if not allowed:
            raise NotReached(f"{host} is at {', '.join(found) or 'no address'}, which a redirect may not lead to")
        return allowed

    def _found(self, host: str, port: int, allowance: ReadAllowance) -> Sequence[str]:
        allowance.begin("looking up its name")
        asked = self._asked.get((host, port))
        if asked is None:
            asked = self._asked[host, port] = gevent.spawn(self._looked_up, host, port)
        try:
            found = asked.get(timeout=allowance.left_s())
        except gevent.Timeout:
            raise allowance.overdue() from None
        if isinstance(found, OSError):
            raise found
        return found

    def _looked_up(self, host: str, port: int) -> Sequence[str] | OSError:
        try:
            return self._resolve(host, port)
        except OSError as error:
            return error
        except UnicodeError:
            return OSError("not the name of a host")
        finally:
            del self._asked[host, port]


def _connected(address: str, port: int, timeout_s: float) -> socket.socket:
    """Connect to an IP address, which no resolver is asked for."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    done = False
    try:
        sock.settimeout(timeout_s)
        sock.connect((address, port))
        done = True
        return sock
    finally:
        if not done:
            sock.close()


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


def reason(error: Exception) -> str:
    """Return in a few words why a connection could not be made."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return str(error) or type(error).__name__
