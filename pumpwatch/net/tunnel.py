"""Connects through a proxy: HTTP CONNECT (RFC 9110) and SOCKS5 (RFC 1928, RFC 1929)."""

from __future__ import annotations

import base64
import ipaddress

from pumpwatch.net.heads import BadAnswer, read_head
from pumpwatch.net.proxy import Proxy
from pumpwatch.net.stream import Stream

ANSWER_BYTES = 1024  # of all answers of a SOCKS proxy together; the longest possible one has 262
REPLIES = ("", "general failure", "not allowed", "network unreachable", "host unreachable", "connection refused", "expired",
           "command not supported", "address type not supported")


def authorization(proxy: Proxy) -> dict[str, str]:
    """Return the header that authenticates us to an HTTP proxy; empty for a proxy without a user."""
    if not proxy.user:
        return {}
    return {"Proxy-Authorization": "Basic " + base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()}


def tunnel(stream: Stream, proxy: Proxy, host: str, port: int) -> None:
    """Let the proxy connect this stream to (host, port). Raises BadAnswer and the errors of the stream's allowance."""
    if proxy.scheme == "http":
        _connect(stream, proxy, host, port)
    else:
        _socks5(stream, proxy, host, port)


def _connect(stream: Stream, proxy: Proxy, host: str, port: int) -> None:
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    lines += [f"{name}: {value}" for name, value in authorization(proxy).items()]
    stream.send("\r\n".join([*lines, "", ""]).encode())
    head = read_head(stream, "the proxy's answer")
    if not 200 <= head.status < 300:
        raise BadAnswer(f"the proxy rejects the connection: {head.start}")


def _socks5(stream: Stream, proxy: Proxy, host: str, port: int) -> None:
    stream.allowance.begin("the proxy's answer", ANSWER_BYTES)
    methods = b"\x00\x02" if proxy.user else b"\x00"
    stream.send(bytes((5, len(methods))) + methods)
    version, method = _exactly(stream, 2)
    if version != 5 or method not in methods:
        raise BadAnswer("the proxy requires a user and a password" if version == 5 else "the proxy does not speak SOCKS5")
    if method == 2:
        user, password = proxy.user.encode(), proxy.password.encode()
        stream.send(bytes((1, len(user))) + user + bytes((len(password),)) + password)
        if _exactly(stream, 2)[1] != 0:
            raise BadAnswer("the proxy rejects the user or the password")
    stream.send(b"\x05\x01\x00" + _socks_address(host) + port.to_bytes(2))
    _, reply, _, kind = _exactly(stream, 4)
    if reply != 0:
        raise BadAnswer(f"the proxy rejects the connection: {REPLIES[reply] if reply < len(REPLIES) else f'code {reply}'}")
    sizes = {1: 4, 4: 16}
    _exactly(stream, (sizes[kind] if kind in sizes else _exactly(stream, 1)[0]) + 2)


def _socks_address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("idna")
        return bytes((3, len(name))) + name
    return bytes((1 if address.version == 4 else 4,)) + address.packed


def _exactly(stream: Stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = stream.recv(size - len(data))
        if not more:
            raise BadAnswer("the proxy closed the connection in the middle of its answer")
        data += more
    return data
