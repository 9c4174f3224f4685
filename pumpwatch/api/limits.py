"""Identify clients, and limit their open connections. `rate_limits.py` limits their requests."""

from __future__ import annotations

import ipaddress


def client_of(address: str) -> str:
    """Return the client of an address: the address itself, or for IPv6 its /64 network, which usually belongs to one client."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False).network_address)
    return address


class ConnectionLimit:
    """Counts the open connections in total and per client; one client may have half of the maximum."""

    def __init__(self, most: int) -> None:
        self._most, self._most_per_client = most, max(1, most // 2)
        self._by_client: dict[str, int] = {}
        self.open = 0

    def enter(self, client: str) -> bool:
        """Count a connection, or return False if it exceeds a limit."""
        if self.open >= self._most or self._by_client.get(client, 0) >= self._most_per_client:
            return False
        self.open += 1
        self._by_client[client] = self._by_client.get(client, 0) + 1
        return True

    def leave(self, client: str) -> None:
        """Undo one `enter`."""
        self.open -= 1
        left = self._by_client[client] - 1
        if left:
            self._by_client[client] = left
        else:
            del self._by_client[client]
