"""Work that one member does for all on an occasion, such as the day's backup of a shared store.

Who does it has a lease, which it renews meanwhile, as for a role. Another one may take the turn once the lease has ended; what
the first one brings to an end later is rejected. Both keys have the cluster's tag:

- `once:WHAT`  the turn of the member that is at it, until its lease ends.
- `once:WHAT:OCCASION`  the turn in which it was done.
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
RENEWALS = 5  # in the time of a lease
State = Literal["done", "held", "free"]
# KEYS of all: the turn, what was done. ARGV: the turn, for how many ms.
CLAIM = """
if redis.call('EXISTS', KEYS[2]) == 1 or not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
return 1
"""
# A turn whose lease has ended goes on where nobody has taken the next one.
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
TELL = "return redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0"
RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"
LOOK = "return redis.call('EXISTS', KEYS[2]) == 1 and 'done' or redis.call('EXISTS', KEYS[1]) == 1 and 'held' or 'free'"


class Turn(msgspec.Struct, frozen=True):
    """The right to do something. id: `MEMBER@TOKEN`, another one with each claim."""

    what: str
    occasion: str
    id: str


class WorkClaims:
    """The turns of one member. Every method may raise RedisUnavailable; what it asked for may have been done then."""

    def __init__(self, redis: RedisCalls, cluster: str, member: str, lease_s: float) -> None:
        self._redis, self._member, self._lease_s = redis, member, lease_s
        self._tag = f"{redis.prefix}:{{cluster:{cluster}}}:once:"
        self._claim, self._renew, self._finish, self._tell, self._release, self._look = map(
            redis.script, (CLAIM, RENEW, FINISH, TELL, RELEASE, LOOK))

    def claim(self, what: str, occasion: str) -> Turn | None:
        """Return the turn; None where another one has it, or it was done."""
        turn = Turn(what, occasion, f"{self._member}@{uuid.uuid4().hex[:12]}")
        return turn if self._run(self._claim, turn, self._lease_s) else None

    def renew(self, turn: Turn) -> bool:
        """Begin the lease anew; return whether it is still this member's turn."""
        return bool(self._run(self._renew, turn, self._lease_s))

    def finish(self, turn: Turn, for_s: float) -> bool:
        """Note for so long that it was done; return False, with nothing noted, where another one took the turn or has done it."""
        return bool(self._run(self._finish, turn, for_s))

    def tell(self, what: str, occasion: str, for_s: float) -> None:
        """Note that this member has done it, where nobody has: an emptied Redis does not know it any more."""
        self._run(self._tell, Turn(what, occasion, self._member), for_s)

    def look(self, what: str, occasion: str) -> State:
        """Return whether it was done, somebody is at it, or anybody may take the turn."""
        return cast(State, self._run(self._look, Turn(what, occasion, ""), 0.0).decode())

    @contextmanager
    def kept(self, turn: Turn) -> Iterator[None]:
        """Renew the lease in a greenlet meanwhile, and release it at the end."""
        renewing = gevent.spawn(self._keep, turn)
        try:
            yield
        finally:
            renewing.kill()
            with suppress(RedisUnavailable):  # it ends by itself
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
        return self._redis.call(f"once {turn.what}", lambda client: script(client, keys, arguments), within_s=WITHIN_S)
