"""Keeps one member in the cluster: agrees with the others on who reads which shard and who has which role.

Each round renews this member's leases and returns the whole state, from which every member computes the same plan. Members may
see different states for a moment; the leases make that safe: a shard changes its reader without a gap, or with a gap from a known
time. Reading twice is harmless, so a member in doubt reads on; a role in doubt is given up instead.
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
from pumpwatch.cluster.leases import Beat, EntryRefused, Leases, LeaseStep, StepAnswer, View, name_of
from pumpwatch.cluster.own_leases import OwnLeases
from pumpwatch.cluster.reader import ShardReader
from pumpwatch.cluster.readings import Readings
from pumpwatch.cluster.redis_time import US_PER_S, RedisTime
from pumpwatch.cluster.roles import ROLES
from pumpwatch.cluster.seen_leases import SeenLeases
from pumpwatch.cluster.shards import Shard, ShardSlot, parse_slot, shards_of, slots_of
from pumpwatch.cluster.steps import covered, deputies, next_end_s, planned, steps_for, wanted_slot, wants_roles
from pumpwatch.config_cluster import ClusterConfig
from pumpwatch.errors import ConfigError
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.errors import RedisUnavailable
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

OnRole = Callable[[str, bool], None]
BEATS = 5  # in the time of a lease
ENTRY_LEASES = 2.0  # leases to wait for a dead member of the same name or with other settings
PATIENCE_LEASES = 0.5  # leases to wait for others to come back after Redis was away
AFTER_END_S = 0.02  # from the end of another member's lease to the next round
SHOWN = 8  # shards in a log line


class Coordinator:
    """One member of a cluster. Call `join`, then `run` in a greenlet, `leave` if there is time, and `stop` at the end."""

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
        self._reported_roles: set[str] = set()
        self._view: View | None = None
        self._seen = SeenLeases([slot for shard in self._shards for slot in slots_of(shard, config.replicas)])
        self._began = self._answered = clock.monotonic()  # the last answer, or the start
        self._steady_since: float | None = None  # since when no answer came later than a lease after the one before
        self._state = "joining"
        self._joined = self._leaving = self._superseded = False
        self._fresh = True  # until the first round is done
        self._stopped, self._wake, self._idle = Event(), Event(), Event()
        self._idle.set()

    def join(self) -> bool:
        """Enter the cluster; return False if Redis is away. Raises ConfigError if the members have other settings.

        It waits up to two leases for members that may be dead: with other settings, or with this name on another data folder.
        """
        deadline = self._clock.monotonic() + ENTRY_LEASES * self._config.lease_s
        while True:
            try:
                answer = self._beat()
            except RedisUnavailable as error:
                self._unreachable(error)
                return False
            if not isinstance(answer, EntryRefused):
                return True
            if self._clock.monotonic() >= deadline:
                raise self._refusal(answer)
            self._stopped.wait(self._config.lease_s / BEATS)

    def run(self) -> None:
        """Renew, read and hand over until `stop`. If Redis never answers, it reads every shard after the time of a lease."""
        while not self._stopped.is_set():
            began = self._clock.monotonic()
            self._idle.clear()
            try:
                self._round()
            finally:
                self._idle.set()
            self._report_roles()
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
        """End `run` and release every lease. Others take the shards at once, from the time up to which they are durable."""
        self._stopped.set()
        self._wake.set()
        self._idle.wait(self._leases.within_s)
        if self._joined:
            self._readings.refresh()
            try:
                self._fenced(self._leases.release(self._own.as_held(self._durable_us), leave=True))
            except RedisUnavailable as error:
                log.warning("leases could not be released, they will expire lease_s=%.1f reason=%s", self._config.lease_s,
                            error.message)
        for slot in self._own:
            self._own.drop(slot)
        self._report_roles()
        self._state = "stopped"

    @property
    def held(self) -> frozenset[Shard]:
        """Return the shards whose lease this member holds. During a hand-over it may read others too."""
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
        """Store a value under the cluster's tag; return False if this member does not hold the role any more.

        Raises RedisUnavailable; the value may have been stored all the same.
        """
        token = self._own.token_of(role)
        if not token:
            return False
        written = self._leases.write(role, token, key, value, ttl_s)
        self._fenced(0 if written else 1)
        return written

    def member_rows(self) -> list[dict[str, Any]]:
        """Return a row for each member, by the last answer of Redis."""
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
        """Wait for the next round: at the pace of beats, or earlier if an own role or a lease of others ends."""
        pace_s = self._config.lease_s / (BEATS * 4 if self._leaving else BEATS)
        due = began + pace_s
        if self._view and not self._leaving and self._steady_since is not None:
            due = min(due, self._answered + next_end_s(self._view, self.id) + AFTER_END_S)
        due = max(min(due, self._own.next_end()), began + pace_s / 10)
        self._wake.wait(max(0.001, due - self._clock.monotonic()))
        self._wake.clear()

    def _beat(self) -> Beat | EntryRefused:
        """Renew every lease, and apply the answer."""
        self._readings.refresh()
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
            self._steady_since = now  # others may have been cut off too, and need time to come back
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
            log.warning("another process with this member's name takes over member=%s", self._facts.member)
        self._state = "superseded" if self._superseded else "leaving" if self._leaving else "in"
        self._seen.learn(view, now)
        self._renewed(sent, dict(zip(slots, answer.tokens, strict=True)))
        self._adopt(sent, view)
        for name, us in self._seen.reported(view, in_time=not self._knows_holders(view)).items():
            if (slot := parse_slot(name)) and name in self._own:
                self._readings.begin(slot.shard, us)
        self._stats.set("cluster_members", len(view.living()))
        self._stats.set("cluster_shards_held", len(self._own.slots()))

    def _renewed(self, sent: float, tokens: dict[str, int]) -> None:
        """Record renewed and lost leases."""
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
        """Adopt leases that were granted in an answer that came too late."""
        for name, lease in view.leases.items():
            if lease.holder == self.id and name not in self._own and view.lease(name):
                self._own.add(name, lease.token, sent + (lease.expires_us - view.now_us) / US_PER_S)
                if slot := parse_slot(name):
                    self._begin(slot, lease.read_until_us)

    def _begin(self, slot: ShardSlot, stored_us: int) -> None:
        """Begin to read a shard whose lease nobody held. stored_us: the time in Redis up to which it was read."""
        read_until_us = self._seen.read_until_us(str(slot), stored_us)
        self._seen.record_taken(str(slot), read_until_us)
        self._readings.begin(slot.shard, read_until_us)

    def _durable_us(self, slot: ShardSlot) -> int:
        """Return up to when a slot's shard is durable; 0 while others may still report since when nobody read it."""
        return 0 if self._seen.waits(str(slot)) else self._readings.read_until_us(slot.shard)

    def _round(self) -> None:
        try:
            answer = self._beat()
            if isinstance(answer, EntryRefused):
                self._shut_out(answer)
            elif self._view:
                self._act(self._view)
        except RedisUnavailable as error:
            self._unreachable(error)

    def _act(self, view: View) -> None:
        """Take the leases that the plan gives this member, and leave shards that others read."""
        plan = planned(view, self._shards, self._config.replicas)
        due = set() if self._leaving or self._superseded else {
            shard for shard, readers in plan.items() if self._facts.member in readers}
        held, steps = self._own.slots(), [LeaseStep("know", name, us) for name, us in self._seen.unknown_to_redis(view).items()]
        for shard in sorted(due - held.keys()):
            slot = wanted_slot(view, shard, plan[shard], self.id, self._config.replicas)
            if slot:
                steps += steps_for(view, slot, self._readings.delivers_since_us(shard), may_take_free=self._may_take(view))
        if self._may_take(view) and not self._leaving and not self._superseded:
            now = self._clock.monotonic()
            found = deputies(view, plan, self._facts.member, self._config.replicas, lambda slot: self._seen.free_s(slot, now),
                             self._config.lease_s / BEATS)
            steps += [LeaseStep("free", str(slot)) for slot in found]
        take, give = wants_roles(view, self._facts.member, self._own.roles(), leaving=self._leaving or self._superseded)
        if self._knows_holders(view):
            steps += [LeaseStep("free", role) for role in take]
        if steps:
            sent = self._clock.monotonic()
            self._apply_answers(sent, steps, self._leases.carry_out(steps, self._highest(view)))
        self._fresh = False
        self._give(view, give, due)
        held = self._own.slots()
        for shard in self._readings:
            if shard in held or shard in due:
                self._readings.keep(shard)
            elif covered(view, shard, self.id, self._config.replicas, self._readings.spare_since_us(shard, view.now_us)):
                self._readings.leave(shard)

    def _apply_answers(self, sent: float, steps: Sequence[LeaseStep], answers: Sequence[StepAnswer]) -> None:
        """Begin to read shards that were taken or claimed."""
        taken: dict[tuple[str, str], list[str]] = {}  # by the kind of step and the previous holder
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
        """Release roles that others should hold, and shards that do not deliver here while the next reader waits."""
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
            self._report_roles()  # before others may have them
            self._fenced(self._leases.release(given, leave=False))

    def _may_take(self, view: View) -> bool:
        """Return whether free leases may be taken now: their holders may be cut off, or unknown to Redis after a loss of data.

        A new member takes them at once, because reading twice for a moment is better than not reading.
        """
        assert self._steady_since is not None
        steady = self._clock.monotonic() - self._steady_since >= self._config.lease_s * PATIENCE_LEASES
        return self._fresh or (steady and self._knows_holders(view))

    def _knows_holders(self, view: View) -> bool:
        """Return whether the state in Redis is older than a lease, so that a holder unknown to it has given up its roles."""
        return view.now_us - view.born_us >= self._config.lease_s * US_PER_S

    def _highest(self, view: View) -> int:
        return max([self._own.highest_token, *(lease.token for lease in view.leases.values())])

    def _stay_without_us(self, view: View) -> bool:
        return any(not row.leaving and name != self._facts.member for name, row in view.living().items())

    def _unreachable(self, error: RedisUnavailable) -> None:
        """Go on reading; if Redis never answered, read everything, because reading twice is better than not reading."""
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

    def _shut_out(self, answer: EntryRefused) -> None:
        """Go on alone: Redis came back after the start, but its members have other settings."""
        if self._state != "refused":
            self._read_all("the cluster rejects this member", self._refusal(answer).message)
            self._state = "refused"
        for slot in self._own:
            self._own.drop(slot)

    def _refusal(self, answer: EntryRefused) -> ConfigError:
        return refusal(self._config.name, self._facts.member, self._settings, answer.kind, answer.theirs)

    def _fenced(self, count: int) -> None:
        if count:
            self._stats.add("cluster_fenced_writes_total", count)
            log.info("redis rejected old tokens member=%s count=%d", self._facts.member, count)

    def _report_roles(self) -> None:
        """Report roles that were taken or given up since the last call."""
        self._own.drop_ended_roles()
        now = self._own.roles()
        for role in ROLES:
            if (role in now) != (role in self._reported_roles):
                self._reported_roles ^= {role}
                self._stats.set("cluster_role", int(role in now), role=role)
                log.info("role %s role=%s member=%s", "taken" if role in now else "given up", role, self._facts.member)
                self._on_role(role, role in now)


def shown(names: Sequence[str]) -> str:
    """Return some names for a log line."""
    return ",".join(names[:SHOWN]) + (f",... {len(names) - SHOWN} more" if len(names) > SHOWN else "")
