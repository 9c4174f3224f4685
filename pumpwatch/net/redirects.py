"""Decides which addresses in answers may be followed.

An address that someone else wrote (a redirect, or the server named in a venue's session) is followed in two cases:

- the same origin: scheme, host and port are those of the configured address;
- https on port 443, or on the configured port, of the same site: the same host, a name below it, or a name below the same
  parent (api.bithumb.com may lead to feed-api.bithumb.com). A parent has at least two labels, or three if the last two are like
  `co.kr`.

In both cases it must resolve to a public address, or to the address that sent the redirect, on the same host and port. So an
answer cannot make this process send requests to a database or a router inside the network.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

MOST_REDIRECTS = 3
SECURE = {"https": True, "wss": True, "http": False, "ws": False}
SECOND_LEVEL = {"ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org"}  # before a country's two letters

NOT_PUBLIC = [ipaddress.ip_network(network) for network in (
    "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")]  # a local NAT64, translated and compatible IPv4 addresses

_host = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9._-]+)?")  # an IPv6 address may name its zone

Origin = tuple[bool, str, int]
MayReach = Callable[[str], bool]


def anywhere(_: str) -> bool:
    """Return True: the rule for an address that a person configured."""
    return True


def origin_of(url: str) -> Origin:
    """Return (secure, host, port) of a URL. Raises ValueError, whose text shows nothing of the URL, if it is not valid."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        secure = SECURE[parts.scheme]
        port = _port(parts, secure)
        named = _host.fullmatch(host.encode("idna").decode("ascii"))
    except (ValueError, KeyError):
        named = None
    if not named:
        raise ValueError("not an http, https, ws or wss address")
    return secure, host, port


def redirect_problem(configured: str, target: str) -> str:
    """Return why `target`, which someone else wrote, may not be followed from a configured address; empty if it may."""
    own = origin_of(configured)
    try:
        wanted = origin_of(target)
    except ValueError:
        return "not an address"
    if "@" in urlsplit(target).netloc:
        return "it carries a user name"
    if wanted == own:
        return ""
    if not wanted[0]:
        return "it is neither https nor the same host and port"
    if not _same_site(own[1], wanted[1]):
        return "it is another site"
    return "" if wanted[2] in (443, own[2]) else "it is another port"


def may_reach(configured: str, target: str, sent_by: str) -> MayReach:
    """Return the rule for the IP addresses of `target`; `sent_by` is the address that the redirect came from."""
    same = origin_of(configured)[1:] == origin_of(target)[1:]
    return lambda address: is_public(address) or (same and address == sent_by)


def is_public(address: str) -> bool:
    """Return whether an IP address is public: not loopback, private, link-local, multicast or reserved."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.is_site_local or any(found in network for network in NOT_PUBLIC):
            return False
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and found in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            found = inner
    return found.is_global and not found.is_multicast


def is_ip(host: str) -> bool:
    """Return whether a host is an IP address in its usual form."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def looks_like_ip(host: str) -> bool:
    """Return whether a host is an IP address in any form that some resolver accepts (127.1, 0x7f000001)."""
    last = host.rstrip(".").rpartition(".")[2]
    return ":" in host or last.isdigit() or last.startswith("0x")


def _same_site(own: str, other: str) -> bool:
    if own == other:
        return True
    if looks_like_ip(own) or looks_like_ip(other):
        return False
    labels = own.split(".")
    if other.endswith(f".{own}") and len(labels) >= 2 and not _is_suffix(labels):
        return True
    parent = labels[1:]
    return len(parent) >= 2 and not _is_suffix(parent) and other.endswith("." + ".".join(parent))


def _is_suffix(labels: list[str]) -> bool:
    return len(labels) == 2 and len(labels[1]) == 2 and labels[0] in SECOND_LEVEL


def _port(parts: SplitResult, secure: bool) -> int:
    port = parts.port  # raises ValueError
    return port if port is not None else 443 if secure else 80
