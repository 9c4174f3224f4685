"""Who a client is, and how many connections it has at a time. Requests are limited by `rate_limits.py`."""

from __future__ import annotations

import ipaddress


def client_of(address: str) -> str:
    """Return whom an address belongs to: itself, or for IPv6 its network of 64 bits, which one client has for itself."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False).network_address)
    return address


class Connections:
    """Counts the open connections, in all and of each client, who may have half of them."""

    def __init__(self, most: int) -> None:
        self._most, self._most_of_one = most, max(1, most // 2)
        self._of: dict[str, int] = {}
        self.open = 0

    def enter(self, client: str) -> bool:
        """Count a connection, or return False where it is one too many."""
        if self.open >= self._most or self._of.get(client, 0) >= self._most_of_one:
            return False
        self.open += 1
        self._of[client] = self._of.get(client, 0) + 1
        return True

    def leave(self, client: str) -> None:
        """Undo one `enter`."""
        self.open -= 1
        left = self._of[client] - 1
        if left:
            self._of[client] = left
        else:
            del self._of[client]
