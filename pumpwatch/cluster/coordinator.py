"""Keeps one member in the cluster: agrees with the others on who reads which shard and who has which role.

Each round renews this member's leases and gets the whole state in one answer, out of which every member reckons the same plan.
The leases make it safe when members see different states for a moment: a shard goes from one reader to the next where nothing can
be missed, or since a time that is known. Reading twice is harmless, so a doubt ends with reading; a role is given up instead.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from gevent.event import Event

from pumpwatch.clock import Clock
from pumpwatch.cluster import rows
from pumpwatch.cluster.facts import MemberFacts, refusal, settings_of
from pumpwatch.cluster.leases import Beat, Leases, Refused, Step, Taken, View, name_of
from pumpwatch.cluster.own_leases import OwnLeases
from pumpwatch.cluster.reader import ShardReader
from pumpwatch.cluster.readings import Readings
from pumpwatch.cluster.redis_time import US_PER_S, RedisTime
from pumpwatch.cluster.roles import ROLES
from pumpwatch.cluster.seen import Seen
from pumpwatch.cluster.shards import Shard, Slot, parse_slot, shards_of, slots_of
from pumpwatch.cluster.steps import covered, deputies, next_end_s, planned, steps_for, wanted_slot, wants_roles
from pumpwatch.config_cluster import ClusterConfig
from pumpwatch.errors import ConfigError
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.errors import RedisUnavailable
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

OnRole = Callable[[str, bool], None]
BEATS = 5  # in the time of a lease
ENTRY_LEASES = 2.0  # a dead member of the same name, or of other settings, is waited for
PATIENCE_LEASES = 0.5  # after Redis was away, for others to come back
AFTER_END_S = 0.02  # the first look after the end of another one's lease
SHOWN = 8  # shards in a line of the log


class Coordinator:
    """One member of a cluster. `join`, then `run` in a greenlet, `leave` where there is time, `stop` at the end."""

    def __init__(self, redis: RedisConnection, config: ClusterConfig, facts: MemberFacts, venues: Sequence[str],
                 reader: ShardReader, clock: Clock, stats: Stats, on_role: OnRole | None = None) -> None:
        self._config, self._facts, self._clock, self._stats = config, facts, clock, stats
        self._settings = settings_of(config, venues)
        self._shards = shards_of(venues, config.shards_per_venue)
        self.id = f"{facts.member}@{uuid.uuid4().hex[:12]}"
        self._leases = Leases(redis, config.name, self.id, config.lease_s)
        self._time = RedisTime(clock)
        self._own = OwnLeases(clock)
        self._readings = Readings(reader, clock, self._time)
        self._on_role = on_role or (lambda role, holds: None)
        self._told_roles: set[str] = set()
        self._view: View | None = None
        self._seen = Seen([slot for shard in self._shards for slot in slots_of(shard, config.replicas)])
        self._began = self._answered = clock.monotonic()  # the last answer, or the start
        self._steady_since: float | None = None  # since when answers come without a pause of a lease
        self._state = "joining"
        self._joined = self._leaving = self._superseded = False
        self._fresh = True  # until the first round is done
        self._stopped, self._wake, self._idle = Event(), Event(), Event()
        self._idle.set()

    def join(self) -> bool:
        """Enter the cluster; return False where Redis is away. Raises ConfigError where the members have other settings.

        It waits up to two leases for members that may be dead: of other settings, or of this name on another data folder.
        """
        deadline = self._clock.monotonic() + ENTRY_LEASES * self._config.lease_s
        while True:
            try:
                answer = self._beat()
            except RedisUnavailable as error:
                self._unreachable(error)
                return False
            if not isinstance(answer, Refused):
                return True
            if self._clock.monotonic() >= deadline:
                raise self._refusal(answer)
            self._stopped.wait(self._config.lease_s / BEATS)

    def run(self) -> None:
        """Renew, read and hand over until `stop`. Where Redis never answered, it reads every shard after the time of a lease."""
        while not self._stopped.is_set():
            began = self._clock.monotonic()
            self._idle.clear()
            try:
                self._round()
            finally:
                self._idle.set()
            self._tell_roles()
            self._wait(began)

    def leave(self, timeout_s: float) -> bool:
        """Hand every shard over while still reading; return whether all were taken in time. `run` must be running."""
        self._leaving = True
        self._wake.set()
        deadline = self._clock.monotonic() + timeout_s
        while self._own.slots() and self._clock.monotonic() < deadline and not self._stopped.is_set():
            view = self._view
            if view is None or self.away or not self._stay_without_us(view):
                break
            self._stopped.wait(0.05)
        return not self._own.slots()

    def stop(self) -> None:
        """End `run` and release every lease: others take what is left at once, as of the time up to which it was durable."""
        self._stopped.set()
        self._wake.set()
        self._idle.wait(self._leases.within_s)
        if self._joined:
            self._readings.look()
            try:
                self._fenced(self._leases.release(self._own.as_held(self._durable_us), leave=True))
            except RedisUnavailable as error:
                log.warning("leases could not be released, they end by themselves lease_s=%.1f reason=%s", self._config.lease_s,
                            error.message)
        for slot in self._own:
            self._own.drop(slot)
        self._tell_roles()
        self._state = "stopped"

    @property
    def held(self) -> frozenset[Shard]:
        """Return the shards of which this member holds a lease. It may read others as well, while they are handed over."""
        return frozenset(self._own.slots())

    @property
    def roles(self) -> frozenset[str]:
        """Return the roles held now: `leader`, `boards.0`, `boards.1`. A role ends with its lease, even while nothing runs."""
        return self._own.roles()

    @property
    def away(self) -> bool:
        """Return whether Redis has been away for longer than a lease."""
        return self._clock.monotonic() - self._answered >= self._config.lease_s

    def write(self, role: str, key: str, value: bytes, ttl_s: float) -> bool:
        """Store a value under the cluster's tag; return False where this member has not the role, or another one had it since.

        Raises RedisUnavailable; it may have been stored then.
        """
        token = self._own.token_of(role)
        if not token:
            return False
        written = self._leases.write(role, token, key, value, ttl_s)
        self._fenced(0 if written else 1)
        return written

    def member_rows(self) -> list[dict[str, Any]]:
        """Return a row for each member, as the last answer of Redis had them."""
        return rows.member_rows(self._view) if self._view else []

    def shard_rows(self) -> list[dict[str, Any]]:
        """Return a row for each slot of a shard."""
        return rows.shard_rows(self._view) if self._view else []

    def status(self) -> dict[str, Any]:
        """Return the figures for status.json. state: joining, in, away, alone, refused, superseded, leaving or stopped."""
        return {"name": self._config.name, "member": self._facts.member, "state": self._state, "roles": sorted(self.roles),
                "held": len(self._own.slots()), "read": len(list(self._readings)),
                "last_answer_s": round(self._clock.monotonic() - self._answered, 1),
                "fenced_writes": int(self._stats.get("cluster_fenced_writes_total")),
                "members": self.member_rows(), "shards": self.shard_rows()}

    def _wait(self, began: float) -> None:
        """Wait for the next round: at the pace of beats, sooner where a role of ours or a lease of others ends."""
        pace_s = self._config.lease_s / (BEATS * 4 if self._leaving else BEATS)
        due = began + pace_s
        if self._view and not self._leaving and self._steady_since is not None:
            due = min(due, self._answered + next_end_s(self._view, self.id) + AFTER_END_S)
        due = max(min(due, self._own.next_end()), began + pace_s / 10)
        self._wake.wait(max(0.001, due - self._clock.monotonic()))
        self._wake.clear()

    def _beat(self) -> Beat | Refused:
        """Renew everything, and take in what came back."""
        self._readings.look()
        sent = self._clock.monotonic()
        held = self._own.as_held(self._durable_us)
        answer = self._leases.beat(self._facts, self._settings.encoded(), held, self._own.highest_token, first=not self._joined,
                                   leaving=self._leaving)
        if isinstance(answer, Beat):
            self._accept(sent, answer, [lease.slot for lease in held])
        return answer

    def _accept(self, sent: float, answer: Beat, slots: Sequence[str]) -> None:
        view = self._view = answer.view
        self._time.learn(sent, view.now_us)
        now = self._clock.monotonic()
        if now - self._answered >= self._config.lease_s and self._joined:
            self._steady_since = now  # others may have been cut off as well: they need the time to come back
            self._seen.forget_free()
        elif self._steady_since is None:
            self._steady_since = now
        if self._state not in ("in", "joining", "leaving", "superseded"):
            log.info("member of the cluster again cluster=%s member=%s after_s=%.1f", self._config.name, self._facts.member,
                     now - self._answered)
        if not self._joined:
            log.info("joined the cluster cluster=%s member=%s members=%d", self._config.name, self._facts.member,
                     len(view.living()))
        self._answered, self._joined = now, True
        self._superseded = answer.superseded
        if self._superseded and self._state != "superseded":
            log.warning("another process has the name of this member, it takes over member=%s", self._facts.member)
        self._state = "superseded" if self._superseded else "leaving" if self._leaving else "in"
        self._seen.learn(view, now)
        self._renewed(sent, dict(zip(slots, answer.tokens, strict=True)))
        self._adopt(sent, view)
        for name, us in self._seen.told(view, in_time=not self._knows_holders(view)).items():
            if (slot := parse_slot(name)) and name in self._own:
                self._readings.begin(slot.shard, us)
        self._stats.set("cluster_members", len(view.living()))
        self._stats.set("cluster_shards_held", len(self._own.slots()))

    def _renewed(self, sent: float, tokens: dict[str, int]) -> None:
        """Note what was renewed and what was lost."""
        lost = [slot for slot, token in tokens.items() if not token]
        late = [slot for slot in lost if self._own.ended(slot, sent)]  # the others were handed over in time
        for name, token in tokens.items():
            if token:
                self._own.add(name, token, sent + self._config.lease_s)
        for name in lost:
            self._own.drop(name)
            if slot := parse_slot(name):
                self._readings.doubt(slot.shard)
        self._fenced(len(late))
        if lost:
            log.info("leases %s member=%s count=%d leases=%s", "lost" if late else "handed over", self._facts.member, len(lost),
                     shown(lost))

    def _adopt(self, sent: float, view: View) -> None:
        """Take in leases that were granted in an answer which did not come in time."""
        for name, lease in view.leases.items():
            if lease.holder == self.id and name not in self._own and view.lease(name):
                self._own.add(name, lease.token, sent + (lease.expires_us - view.now_us) / US_PER_S)
                if slot := parse_slot(name):
                    self._begin(slot, lease.read_until_us)

    def _begin(self, slot: Slot, told_us: int) -> None:
        """Read a shard of which a lease was taken that nobody held."""
        read_until_us = self._seen.read_until_us(str(slot), told_us)
        self._seen.began(str(slot), read_until_us)
        self._readings.begin(slot.shard, read_until_us)

    def _durable_us(self, slot: Slot) -> int:
        """Return up to when a slot's shard is durable; 0 while others may still tell since when nobody read it."""
        return 0 if self._seen.waits(str(slot)) else self._readings.read_until_us(slot.shard)

    def _round(self) -> None:
        try:
            answer = self._beat()
            if isinstance(answer, Refused):
                self._shut_out(answer)
            elif self._view:
                self._act(self._view)
        except RedisUnavailable as error:
            self._unreachable(error)

    def _act(self, view: View) -> None:
        """Take what is due by the plan, and leave what others read."""
        plan = planned(view, self._shards, self._config.replicas)
        due = set() if self._leaving or self._superseded else {
            shard for shard, readers in plan.items() if self._facts.member in readers}
        held, steps = self._own.slots(), [Step("know", name, us) for name, us in self._seen.unknown_to_redis(view).items()]
        for shard in sorted(due - held.keys()):
            slot = wanted_slot(view, shard, plan[shard], self.id, self._config.replicas)
            if slot:
                steps += steps_for(view, slot, self._readings.delivers_since_us(shard), may_take_free=self._may_take(view))
        if self._may_take(view) and not self._leaving and not self._superseded:
            now = self._clock.monotonic()
            found = deputies(view, plan, self._facts.member, self._config.replicas, lambda slot: self._seen.free_s(slot, now),
                             self._config.lease_s / BEATS)
            steps += [Step("free", str(slot)) for slot in found]
        take, give = wants_roles(view, self._facts.member, self._own.roles(), leaving=self._leaving or self._superseded)
        if self._knows_holders(view):
            steps += [Step("free", role) for role in take]
        if steps:
            sent = self._clock.monotonic()
            self._taken(sent, steps, self._leases.take(steps, self._highest(view)))
        self._fresh = False
        self._give(view, give, due)
        held = self._own.slots()
        for shard in self._readings:
            if shard in held or shard in due:
                self._readings.keep(shard)
            elif covered(view, shard, self.id, self._config.replicas, self._readings.spare_since_us(shard, view.now_us)):
                self._readings.leave(shard)

    def _taken(self, sent: float, steps: Sequence[Step], answers: Sequence[Taken]) -> None:
        """Begin to read what was taken or claimed."""
        taken: dict[tuple[str, str], list[str]] = {}  # by the kind of step and the holder before
        for step, answer in zip(steps, answers, strict=True):
            slot = parse_slot(step.slot)
            if answer.answer == "claimed" and slot:
                self._readings.begin_beside(slot.shard)
            if answer.answer != "taken":
                continue
            self._own.add(step.slot, answer.token, sent + self._config.lease_s)
            if step.kind == "hand" and slot:
                self._readings.handed_over(slot.shard)
                self._stats.add("cluster_handovers_total")
            elif slot:
                self._begin(slot, answer.read_until_us)
                self._stats.add("cluster_takeovers_total")
            taken.setdefault((step.kind, name_of(answer.before)), []).append(step.slot)
        for (kind, before), slots in taken.items():
            log.info("leases %s member=%s from=%s count=%d leases=%s", "taken over" if kind == "hand" else "taken",
                     self._facts.member, before or "nobody", len(slots), shown(slots))

    def _give(self, view: View, roles: Sequence[str], due: set[Shard]) -> None:
        """Release roles that others should have, and shards that do not deliver here while the next reader waits."""
        names = set(roles)
        for shard, slot in self._own.slots().items():
            lease = view.lease(str(slot))
            waits = lease and lease.next and lease.next_until_us > view.now_us
            if waits and shard not in due and not self._readings.delivers(shard):
                names.add(str(slot))
        if names:
            given = [held for held in self._own.as_held(self._durable_us) if held.slot in names]
            for held in given:
                self._own.drop(held.slot)
            self._tell_roles()  # before others may have them
            self._fenced(self._leases.release(given, leave=False))

    def _may_take(self, view: View) -> bool:
        """Return whether what nobody holds may be taken at once: others may be cut off, or Redis may have lost who holds it.

        A newcomer takes it at once: reading twice for a moment is better than not at all.
        """
        assert self._steady_since is not None
        steady = self._clock.monotonic() - self._steady_since >= self._config.lease_s * PATIENCE_LEASES
        return self._fresh or (steady and self._knows_holders(view))

    def _knows_holders(self, view: View) -> bool:
        """Return whether the state in Redis is older than a lease: a holder that it does not know has given its roles up."""
        return view.now_us - view.born_us >= self._config.lease_s * US_PER_S

    def _highest(self, view: View) -> int:
        return max([self._own.highest_token, *(lease.token for lease in view.leases.values())])

    def _stay_without_us(self, view: View) -> bool:
        return any(not row.leaving and name != self._facts.member for name, row in view.living().items())

    def _unreachable(self, error: RedisUnavailable) -> None:
        """Go on reading; where Redis never answered, read everything: better twice than not at all."""
        self._stats.add("cluster_beats_failed_total")
        if not self.away or self._state in ("away", "alone"):
            return
        if self._joined:
            self._state = "away"
            log.warning("redis is away for longer than a lease: this member goes on reading its shards and gives up its roles"
                        " cluster=%s shards=%d reason=%s", self._config.name, len(list(self._readings)), error.message)
        else:
            self._read_all("redis is away", error.message)

    def _read_all(self, why: str, reason: str) -> None:
        self._state = "alone"
        log.warning("%s: this collector reads everything cluster=%s reason=%s", why, self._config.name, reason)
        for shard in self._shards:
            if shard not in self._readings:
                self._readings.begin(shard, 0)

    def _shut_out(self, answer: Refused) -> None:
        """Go on without the others: Redis came back after the start, and its members have other settings."""
        if self._state != "refused":
            self._read_all("the cluster does not let this member in", self._refusal(answer).message)
            self._state = "refused"
        for slot in self._own:
            self._own.drop(slot)

    def _refusal(self, answer: Refused) -> ConfigError:
        return refusal(self._config.name, self._facts.member, self._settings, answer.kind, answer.theirs)

    def _fenced(self, count: int) -> None:
        if count:
            self._stats.add("cluster_fenced_writes_total", count)
            log.info("redis rejected old tokens member=%s count=%d", self._facts.member, count)

    def _tell_roles(self) -> None:
        """Tell of roles that came or went since the last time."""
        self._own.drop_ended_roles()
        now = self._own.roles()
        for role in ROLES:
            if (role in now) != (role in self._told_roles):
                self._told_roles ^= {role}
                self._stats.set("cluster_role", int(role in now), role=role)
                log.info("role %s role=%s member=%s", "taken" if role in now else "given up", role, self._facts.member)
                self._on_role(role, role in now)


def shown(names: Sequence[str]) -> str:
    """Return some names for a line of the log."""
    return ",".join(names[:SHOWN]) + (f",... {len(names) - SHOWN} more" if len(names) > SHOWN else "")
