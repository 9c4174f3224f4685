"""Assigns work that one member does for all, such as the daily backup of a shared store: the first to claim it does it."""

from __future__ import annotations

from pumpwatch.cluster.leases import RedisCalls

WITHIN_S = 1.0
# ARGV: member, seconds. Returns the member that does the work.
CLAIM = """
redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2])
return redis.call('GET', KEYS[1])
"""


class WorkClaims:
    """The claims of one member. `PREFIX:{cluster:NAME}:once:WHAT` holds the name of the member that does the work."""

    def __init__(self, redis: RedisCalls, cluster: str, member: str) -> None:
        self._redis, self._member, self._claim = redis, member, redis.script(CLAIM)
        self._tag = f"{redis.prefix}:{{cluster:{cluster}}}:once:"

    def claims(self, what: str, for_s: float) -> bool:
        """Return whether this member does the work: it was the first to claim it, now or before. Raises RedisUnavailable."""
        doer = self._redis.call(
            f"claim {what.partition(':')[0]}",
            lambda client: self._claim(client, [f"{self._tag}{what}"], [self._member, max(1, round(for_s))]), within_s=WITHIN_S)
        return bool(doer == self._member.encode())
