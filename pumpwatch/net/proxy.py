"""Decides whether a proxy is used, and which one.

`net.proxy` takes precedence over the environment, for REST and WebSocket alike, regardless of NO_PROXY. Without it, HTTPS_PROXY
serves https and wss, HTTP_PROXY serves http and ws, and ALL_PROXY serves both, in upper or lower case. NO_PROXY is honoured, and
addresses of this machine never go through a proxy of the environment. An invalid proxy is an error at the start; messages never
show its password.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from pumpwatch.errors import ConfigError
from pumpwatch.net.texts import HIDDEN, one_line, shown_address

SCHEMES = ("http", "socks5", "socks5h")
USUAL_PORTS = {"http": 80, "socks5": 1080, "socks5h": 1080}
HINT = "write http://HOST:PORT, socks5://HOST:PORT or socks5h://HOST:PORT, with USER:PASSWORD@ before HOST if it requires them"

_short_ip = re.compile(r"[0-9a-fx.]+")


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy. Scheme `http` tunnels by CONNECT; `socks5` gets IP addresses, `socks5h` gets names."""

    scheme: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return self._shown(HIDDEN if self.user else "")

    def url(self) -> str:
        """Return its URL, with the password."""
        return self._shown(f"{quote(self.user, safe='')}:{quote(self.password, safe='')}" if self.user else "")

    def _shown(self, user: str) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{user}{'@' if user else ''}{host}:{self.port}"


def parse_proxy(text: str, where: str) -> Proxy:
    """Parse the URL of a proxy. Raises ConfigError that names `where`, its place in the configuration, and hides the password."""
    shown = shown_address(text)

    def invalid(problem: str) -> ConfigError:
        return ConfigError(f"{where}: {shown}: {problem}", HINT)

    if text != text.strip() or not text.isprintable() or " " in text:
        raise invalid("it contains a space or an unprintable character")
    if "://" not in text:
        raise invalid("http:// or socks5:// is missing before it")
    scheme = text.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise invalid(f"{one_line(scheme, 20)} is not supported")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:  # its text would show a part of the password
        raise invalid("not an address (in a password write / as %2F, ? as %3F, # as %23, @ as %40)") from None
    if not host or port == 0 or parts.path.strip("/") or parts.query or parts.fragment:
        raise invalid("not HOST:PORT (in a password write / as %2F, ? as %3F, # as %23)")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if scheme != "http" and max(len(user.encode()), len(password.encode())) > 255:
        raise invalid("SOCKS takes a user and a password of at most 255 bytes")
    return Proxy(scheme, host, port or USUAL_PORTS[scheme], user, password)


class Proxies:
    """Chooses the proxy for an address. Raises ConfigError at once for an invalid proxy."""

    def __init__(self, configured: str = "", environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._configured = parse_proxy(configured, "net.proxy") if configured else None
        self._secure = self._plain = None
        self._no_proxy: list[str] = []
        if self._configured is None:
            self._secure = _from_environment(environ, "https_proxy", "all_proxy")
            self._plain = _from_environment(environ, "http_proxy", "all_proxy")
            listed = _either_case(environ, "no_proxy")[1]
            self._no_proxy = [entry.strip().lower() for entry in listed.replace(",", " ").split()]

    def describe(self) -> str:
        """Return the proxies in use, without passwords; empty if none is set."""
        if self._configured is not None:
            return f"{self._configured} (net.proxy)"
        chosen = ((self._secure, "https and wss"), (self._plain, "http and ws"))
        used = [f"{proxy} for {schemes}" for proxy, schemes in chosen if proxy]
        return f"{', '.join(used)} (environment)" if used else ""

    def proxy_for(self, host: str, port: int, secure: bool) -> Proxy | None:
        """Return the proxy for a destination, None for a direct connection."""
        if self._configured is not None:
            return self._configured
        proxy = self._secure if secure else self._plain
        if proxy is None or _is_this_machine(host) or any(_covers(entry, host, port) for entry in self._no_proxy):
            return None
        return proxy


def proxy_to(url: str) -> str:
    """Return the URL of the environment's proxy for a sink's http or https URL; empty for a direct connection.

    `net.proxy` is for venues and notice boards only. An invalid URL gets a direct connection, which then fails.
    Raises ConfigError for an invalid proxy.
    """
    proxies = Proxies()
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    secure = parts.scheme == "https"
    proxy = proxies.proxy_for(host, port or (443 if secure else 80), secure)
    return proxy.url() if proxy else ""


def _either_case(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return (name as written, value); lower case takes precedence, even if it is empty."""
    written = name if name in environ else name.upper()
    return written, environ.get(written, "").strip()


def _from_environment(environ: Mapping[str, str], *names: str) -> Proxy | None:
    for name in names:
        written, text = _either_case(environ, name)
        if text:
            return parse_proxy(text if "://" in text else f"http://{text}", f"environment {written}")
    return None


def _is_this_machine(host: str) -> bool:
    host = host.lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    if address is None and _short_ip.fullmatch(host):
        with contextlib.suppress(OSError):
            address = ipaddress.IPv4Address(socket.inet_aton(host))  # 127.1, 0x7f000001
    address = getattr(address, "ipv4_mapped", None) or address
    return address is not None and (address.is_loopback or address.is_unspecified)


def _covers(entry: str, host: str, port: int) -> bool:
    """Return whether a NO_PROXY entry covers a host: the host itself, a parent domain, its network, or `*`."""
    if entry == "*":
        return True
    host = host.lower().rstrip(".")
    address = _address(host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            pass
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit():
        if int(wanted) != port:
            return False
        entry = name.strip("[]")
    entry = entry.removeprefix("*").lstrip(".")
    return bool(entry) and (host == entry or host.endswith(f".{entry}"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
