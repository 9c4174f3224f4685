"""How much one client may ask: connections at a time, and requests in a sliding minute."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from dataclasses import dataclass, field

WINDOW_S = 60
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


@dataclass(slots=True)
class _Minute:
    """The requests that one client was granted: [second, count], and their sum."""

    seconds: deque[list[int]] = field(default_factory=deque)
    total: int = 0


class SlidingWindow:
    """Counts the requests of each client over the last WINDOW_S seconds, by the second."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._clients: OrderedDict[str, _Minute] = OrderedDict()  # the one that asked last is the last

    def wait_s(self, client: str, now_s: float) -> int:
        """Count a request and return 0, or return in how many seconds the client may ask again."""
        minute = self._clients.pop(client, None) or _Minute()
        self._clients[client] = minute
        while len(self._clients) > KNOWN_ADDRESSES:
            self._clients.popitem(last=False)
        second = int(now_s)
        while minute.seconds and minute.seconds[0][0] <= second - WINDOW_S:
            minute.total -= minute.seconds.popleft()[1]
        if minute.total >= self._most:
            return max(1, minute.seconds[0][0] + WINDOW_S - second)
        minute.total += 1
        if minute.seconds and minute.seconds[-1][0] == second:
            minute.seconds[-1][1] += 1
        else:
            minute.seconds.append([second, 1])
        return 0


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
