"""How much one client may ask: connections at a time, and requests in a sliding minute."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

WINDOW_S = 60.0
KNOWN_ADDRESSES = 4096  # the ones that asked longest ago are forgotten first


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


class SlidingWindow:
    """Counts the requests of each client over the last WINDOW_S seconds.

    The count of the window before is taken in proportion to how much of it the sliding one still covers, so that two numbers
    for a client are enough.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._clients: OrderedDict[str, tuple[int, int, int]] = OrderedDict()  # number of its window, count, count before

    def wait_s(self, client: str, now_s: float) -> float:
        """Count a request and return 0, or return in how many seconds the client may ask again."""
        window, within_s = divmod(now_s, WINDOW_S)
        number, count, before = self._clients.pop(client, (int(window), 0, 0))
        if int(window) > number:
            number, count, before = int(window), 0, count if int(window) == number + 1 else 0
        used = count + before * (1 - within_s / WINDOW_S)
        allowed = used + 1 <= self._most
        self._clients[client] = number, count + allowed, before
        while len(self._clients) > KNOWN_ADDRESSES:
            self._clients.popitem(last=False)
        return 0.0 if allowed else max(1.0, min(WINDOW_S, WINDOW_S / self._most, WINDOW_S - within_s))


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
