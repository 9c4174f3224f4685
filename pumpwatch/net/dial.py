"""Opens a stream to a host and a port (name lookup, TCP, proxy, TLS), for WebSocket and REST alike.

All steps share one allowance. The same name is looked up once at a time: if the resolver hangs, it holds one lookup thread,
however many connections wait for that name.
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
    """A name resolves only to addresses that may not be connected to."""


def look_up(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host, in the resolver's order. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True, slots=True)
class Destination:
    """A host to connect to, and its allowed IP addresses. avoid: an address to try last, because another connection uses it."""

    secure: bool
    host: str
    port: int
    may_reach: MayReach = anywhere
    avoid: str = ""


class StreamDialer:
    """Opens streams with the process's trusted authorities, proxies and name lookup."""

    def __init__(self, context: ssl.SSLContext, proxy: str = "", resolve: Resolve = look_up) -> None:
        self._context, self._resolve = context, resolve
        self._proxies = Proxies(proxy)
        self._lookups: dict[tuple[str, int], gevent.Greenlet[[str, int], Sequence[str] | OSError]] = {}

    def proxy_for(self, destination: Destination) -> Proxy | None:
        """Return the proxy for a destination, None for a direct connection."""
        return self._proxies.proxy_for(destination.host, destination.port, destination.secure)

    def open(self, destination: Destination, allowance: ReadAllowance, absolute: bool = False) -> tuple[Stream, str]:
        """Return a stream to `destination`, TLS included, and the IP address of the other end (empty through a proxy).

        absolute: without TLS, use an HTTP proxy without a tunnel; the request then names the whole URL.
        Raises OSError (including Overdue, TooMuch, BadAnswer and NotReached) and ssl.SSLError.
        """
        proxy = self.proxy_for(destination)
        if proxy is None:
            sock, peer = self._tcp(destination.host, destination.port, destination.may_reach, allowance, destination.avoid)
        else:
            try:
                sock, peer = self._tcp(proxy.host, proxy.port, anywhere, allowance)[0], ""
            except OSError as error:
                raise BadAnswer(f"the proxy {proxy} cannot be reached: {reason(error)}") from error
        stream: Stream | None = None
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            plain = PlainStream(sock, allowance)
            if proxy is not None and not (absolute and proxy.scheme == "http" and not destination.secure):
                tunnel(plain, proxy, self._name_for(proxy, destination, allowance), destination.port)
            stream = plain.secured(self._context, destination.host) if destination.secure else plain
        finally:
            if stream is None:
                sock.close()
        return stream, peer

    def _name_for(self, proxy: Proxy, destination: Destination, allowance: ReadAllowance) -> str:
        """Return the host in the form that this proxy expects: a name or an address."""
        if looks_like_ip(destination.host) or proxy.scheme == "socks5":
            return self._addresses(destination.host, destination.port, destination.may_reach, allowance)[0]
        return destination.host

    def _tcp(self, host: str, port: int, may_reach: MayReach, allowance: ReadAllowance,
             avoid: str = "") -> tuple[socket.socket, str]:
        found = self._addresses(host, port, may_reach, allowance)
        addresses = sorted(found, key=lambda address: address == avoid)  # stable, so otherwise in the resolver's order
        allowance.begin("connecting")
        for waiting, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                return _connected(address, port, allowance.left_s() / waiting), address
            except OSError as error:
                if waiting == 1:
                    raise allowance.overdue() if isinstance(error, TimeoutError) else error from None
        raise AssertionError("a lookup without an address raises an error")

    def _addresses(self, host: str, port: int, may_reach: MayReach, allowance: ReadAllowance) -> Sequence[str]:
        found = [host] if is_ip(host) else self._resolved(host, port, allowance)
        allowed = [address for address in found if may_reach(address)]
        if not allowed:
            raise NotReached(f"{host} is at {', '.join(found) or 'no address'}, which a redirect may not lead to")
        return allowed

    def _resolved(self, host: str, port: int, allowance: ReadAllowance) -> Sequence[str]:
        allowance.begin("looking up its name")
        lookup = self._lookups.get((host, port))
        if lookup is None:
            lookup = self._lookups[host, port] = gevent.spawn(self._look_up, host, port)
        try:
            found = lookup.get(timeout=allowance.left_s())
        except gevent.Timeout:
            raise allowance.overdue() from None
        if isinstance(found, OSError):
            raise found
        return found

    def _look_up(self, host: str, port: int) -> Sequence[str] | OSError:
        try:
            return self._resolve(host, port)
        except OSError as error:
            return error
        except UnicodeError:
            return OSError("not the name of a host")
        finally:
            del self._lookups[host, port]


def _connected(address: str, port: int, timeout_s: float) -> socket.socket:
    """Connect to an IP address, without a lookup."""
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
    """Return a client context that trusts the system's authorities and those in `ca_file`.

    Raises ConfigError if the file cannot be used.
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
    """Return in a few words why a connection failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return str(error) or type(error).__name__
