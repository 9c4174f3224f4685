"""Assigns work that one member does for all on an occasion, such as the daily backup of a shared store.

The member that does the work holds a lease and renews it, as for a role. Once the lease has ended, another member may claim the
work; a result that the first one finishes later is rejected. Both keys have the cluster's tag:

- `once:WHAT`  the turn of the member that does the work, until its lease ends.
- `once:WHAT:OCCASION`  the turn in which the work was done.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, cast

import gevent
import msgspec

from pumpwatch.cluster.leases import RedisCalls
from pumpwatch.redis.errors import RedisUnavailable

WITHIN_S = 1.0
RENEWALS = 5  # per lease
WorkState = Literal["done", "held", "free"]
# KEYS of all scripts: the current turn, the finished turn. ARGV: the turn, the time to live in ms.
CLAIM = """
if redis.call('EXISTS', KEYS[2]) == 1 or not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
return 1
"""
# After the end of its lease a turn stays valid until another member claims the work.
MINE = """
local turn = redis.call('GET', KEYS[1])
local done = redis.call('GET', KEYS[2])
if done and done ~= ARGV[1] or turn and turn ~= ARGV[1] then return 0 end
"""
RENEW = MINE + """
if not done then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return 1
"""
FINISH = MINE + """
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
"""
RECORD_DONE = "return redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0"
RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"
STATE = "return redis.call('EXISTS', KEYS[2]) == 1 and 'done' or redis.call('EXISTS', KEYS[1]) == 1 and 'held' or 'free'"


class Turn(msgspec.Struct, frozen=True):
    """The right to do the work of an occasion. id: `MEMBER@TOKEN`, with a new token for each claim."""

    what: str
    occasion: str
    id: str


class WorkClaims:
    """The claims of one member. Every method may raise RedisUnavailable; its request may have been carried out all the same."""

    def __init__(self, redis: RedisCalls, cluster: str, member: str, lease_s: float) -> None:
        self._redis, self._member, self._lease_s = redis, member, lease_s
        self._tag = f"{redis.prefix}:{{cluster:{cluster}}}:once:"
        self._claim, self._renew, self._finish, self._record_done, self._release, self._state = map(
            redis.script, (CLAIM, RENEW, FINISH, RECORD_DONE, RELEASE, STATE))

    def claim(self, what: str, occasion: str) -> Turn | None:
        """Claim the work and return the turn; None if another member holds it, or if the work is done."""
        turn = Turn(what, occasion, f"{self._member}@{uuid.uuid4().hex[:12]}")
        return turn if self._run(self._claim, turn, self._lease_s) else None

    def renew(self, turn: Turn) -> bool:
        """Renew the lease; return whether the turn is still valid."""
        return bool(self._run(self._renew, turn, self._lease_s))

    def finish(self, turn: Turn, for_s: float) -> bool:
        """Record for `for_s` that the work is done; return False and record nothing if another member has claimed or done it."""
        return bool(self._run(self._finish, turn, for_s))

    def record_done(self, what: str, occasion: str, for_s: float) -> None:
        """Record that this member has done the work, unless a record exists: an emptied Redis has lost it."""
        self._run(self._record_done, Turn(what, occasion, self._member), for_s)

    def state(self, what: str, occasion: str) -> WorkState:
        """Return whether the work is done, held by a member, or free to claim."""
        return cast(WorkState, self._run(self._state, Turn(what, occasion, ""), 0.0).decode())

    @contextmanager
    def kept(self, turn: Turn) -> Iterator[None]:
        """Renew the lease in a greenlet while the block runs, and release it at the end."""
        renewing = gevent.spawn(self._keep, turn)
        try:
            yield
        finally:
            renewing.kill()
            with suppress(RedisUnavailable):  # the lease ends anyway
                self._run(self._release, turn, 0.0)

    def _keep(self, turn: Turn) -> None:
        while True:
            gevent.sleep(self._lease_s / RENEWALS)
            with suppress(RedisUnavailable):
                if not self.renew(turn):
                    return

    def _run(self, script: Callable[..., Any], turn: Turn, for_s: float) -> Any:
        keys = [f"{self._tag}{turn.what}", f"{self._tag}{turn.what}:{turn.occasion}"]
        arguments = [turn.id, max(1, round(for_s * 1000))]
        operation = f"once {turn.what.partition(':')[0]}"
        return self._redis.call(operation, lambda client: script(client, keys, arguments), within_s=WITHIN_S)
