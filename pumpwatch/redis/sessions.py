"""Sessions of the API in Redis, so that any collector behind a load balancer knows them. See `pumpwatch/api/sessions.py`."""

from __future__ import annotations

from collections.abc import Iterable

from pumpwatch.redis.connection import Client, RedisConnection
from pumpwatch.redis.rate_limits import PATIENCE_S, tagged


class SharedSessions:
    """Stores a mark for each hash of a session id, with its own time to live. Every method blocks for at most `patience_s`.

    It raises RedisUnavailable if Redis does not answer in time.
    """

    def __init__(self, connection: RedisConnection, patience_s: float = PATIENCE_S) -> None:
        self._connection, self._patience_s = connection, patience_s

    def put(self, name: str, mark: str, lasts_s: float) -> None:
        """Store a session for `lasts_s`."""
        self._connection.call("session", lambda client: client.set(self._key(name), mark, px=_ms(lasts_s)), self._patience_s)

    def renew(self, name: str, lasts_s: float) -> str | None:
        """Return the mark of a session and store it for `lasts_s` from now; None if it is unknown."""
        found: bytes | None = self._connection.call(
            "session", lambda client: client.getex(self._key(name), px=_ms(lasts_s)), self._patience_s)
        return None if found is None else found.decode()

    def remove(self, names: Iterable[str]) -> None:
        """Forget sessions."""
        def unlink(client: Client) -> None:
            for key in keys:  # one by one: they are on different nodes
                client.unlink(key)

        keys = [self._key(name) for name in names]
        self._connection.call("session", unlink, self._patience_s)

    def _key(self, name: str) -> str:
        return tagged(self._connection.prefix, "session", name)


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))
