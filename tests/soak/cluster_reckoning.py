"""Compare what the members of a cluster stored with what was traded, and how long nobody read a shard."""

from __future__ import annotations

import json
import sqlite3
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pumpwatch.clock import NS_PER_S
from tests.soak.cluster_harms import Harm

MOST_S = 10.0  # until another member reads
REDIS_NS = 12 * NS_PER_S  # after a harm to Redis a take-over may take longer: members are given the time to come back
NEVER_NS = 2**63 - 1
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ClusterResult:
    """The outcome. trades: sent while the cluster stood. stored: of them, each once; copies: read once more, and dropped.

    missing: in no store; unnamed: missing and in no gap. taken_over: harms to members after which others read, and the time
    until they did, of the last shard: the median of the harms, and the longest; those near a harm to Redis apart. clashes:
    moments at which a member acted in a role though another one had a newer token. fenced: writes with an old token that
    Redis rejected.
    """

    trades: int
    stored: int
    copies: int
    missing: int
    unnamed: int
    gaps: dict[str, int]
    gap_share: float
    harms: dict[str, int]
    taken_over: int
    taken_over_p50_s: float
    taken_over_max_s: float
    near_redis: int
    near_redis_p50_s: float
    near_redis_max_s: float
    stops_without_a_hole: str
    roles_noted: int
    clashes: int
    fenced: int

    @property
    def good(self) -> bool:
        """Return whether nothing is missing without a name, no role was doubled, and others read within MOST_S."""
        return not (self.unnamed or self.clashes) and self.taken_over_max_s <= MOST_S

    def figures(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        return "\n".join(f"  {name.replace('_', ' '):22} {value}" for name, value in asdict(self).items())


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of every member's store."""
    found: list[tuple[Any, ...]] = []
    for file in sorted(folder.glob("*.sqlite")):
        with closing(sqlite3.connect(file)) as db:
            found += db.execute(query).fetchall()
    return found


def reckon_cluster(folder: Path, harms: Sequence[Harm], from_ns: int, to_ns: int) -> ClusterResult:
    """Reckon everything between two moments at which the cluster stood."""
    truth = json.loads((folder / "truth.json").read_text("utf-8"))
    times: list[int] = truth["times"]
    ticks = [number for number, at in enumerate(times) if from_ns <= at < to_ns]
    stored = {(symbol, number) for symbol, number in rows(folder, "SELECT symbol, id FROM trades")}
    copies = Counter[tuple[str, int]]()
    for symbol, number, count in rows(folder, "SELECT symbol, id, copies FROM trades"):
        copies[symbol, number] += count
    gaps: dict[str, list[Span]] = {}
    for shard, begin, end in rows(folder, "SELECT shard, from_ns, to_ns FROM gaps"):
        gaps.setdefault(shard, []).append((begin, end))
    missing = unnamed = whole = 0
    for shard, symbols in truth["roster"].items():
        spans = gaps.get(shard, [])
        for symbol in symbols:
            whole += len(ticks)
            lost = [times[tick] for tick in ticks if (symbol, truth["base"][symbol] + tick) not in stored]
            missing += len(lost)
            unnamed += sum(1 for at in lost if not any(begin <= at < end for begin, end in spans))
    named = sum(min(end, to_ns) - max(begin, from_ns) for spans in gaps.values() for begin, end in merged(spans)
                if end > from_ns and begin < to_ns)
    clean, near = taken_over(truth["spans"], harms, to_ns)
    held = rows(folder, "SELECT role, at, token FROM roles")
    return ClusterResult(
        trades=whole, stored=whole - missing, copies=sum(copies.values()) - len(copies), missing=missing, unnamed=unnamed,
        gaps=dict(Counter(why for why, in rows(folder, "SELECT why FROM gaps"))),
        gap_share=round(named / (to_ns - from_ns) / len(truth["roster"]), 4),
        harms=dict(sorted(Counter(harm.kind for harm in harms).items())),
        taken_over=len(clean), taken_over_p50_s=median(clean), taken_over_max_s=max(clean, default=0.0),
        near_redis=len(near), near_redis_p50_s=median(near), near_redis_max_s=max(near, default=0.0),
        stops_without_a_hole=stops(truth["spans"], harms), roles_noted=len(held), clashes=clashes(held), fenced=fenced(folder))


def median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 2) if values else 0.0


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return spans joined where they touch."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((begin, end))
    return found


def reading(spans: Sequence[Sequence[Any]], harms: Sequence[Harm]) -> dict[str, list[tuple[str, int, int]]]:
    """Return who read each shard from when to when: the venue's own record without the times at which a member was suspended."""
    paused: dict[str, list[Span]] = {}
    for harm in harms:
        if harm.kind == "suspend":
            paused.setdefault(harm.member, []).append((harm.at_ns, harm.until_ns))
    found: dict[str, list[tuple[str, int, int]]] = {}
    for member, shard, begin, end in spans:
        at = begin
        for stopped, resumed in sorted(paused.get(member, [])):
            if stopped < end and resumed > at:
                found.setdefault(shard, []).append((member, at, max(at, stopped)))
                at = resumed
        if at < end:
            found.setdefault(shard, []).append((member, at, end))
    return found


def taken_over(spans: Sequence[Sequence[Any]], harms: Sequence[Harm], to_ns: int) -> tuple[list[float], list[float]]:
    """Return for each kill, and each suspension that lasted, after how many seconds every shard was read again by another one.

    The second list has those near a harm to Redis.
    """
    of_redis = [(harm.at_ns - REDIS_NS, harm.until_ns + REDIS_NS) for harm in harms if not harm.member]
    by_shard, clean, near = reading(spans, harms), list[float](), list[float]()
    for harm in harms:
        if harm.kind not in ("kill", "suspend"):
            continue
        waits = []
        for read in by_shard.values():
            had = any(member == harm.member and begin < harm.at_ns <= end + NS_PER_S for member, begin, end in read)
            others = [(begin, end) for member, begin, end in read if member != harm.member]
            if had and not any(begin <= harm.at_ns < end for begin, end in others):
                until = min((begin for _, begin, end in read if begin > harm.at_ns), default=to_ns)
                if harm.kind == "kill" or until < harm.until_ns:  # else it was back before others were needed
                    waits.append((until - harm.at_ns) / NS_PER_S)
        if waits:
            is_near = any(begin <= harm.at_ns < end for begin, end in of_redis)
            (near if is_near else clean).append(round(max(waits), 2))
    return clean, near


def stops(spans: Sequence[Sequence[Any]], harms: Sequence[Harm]) -> str:
    """Return how many of the members that were stopped had their shards read by others when they left them."""
    by_shard, good, all_of = reading(spans, harms), 0, 0
    for harm in harms:
        if harm.kind == "stop":
            all_of += 1
            left = [(shard, end) for shard, read in by_shard.items() for member, begin, end in read
                    if member == harm.member and harm.at_ns < end < harm.until_ns]
            good += all(any(begin < at < end for member, begin, end in by_shard[shard] if member != harm.member)
                        for shard, at in left)
    return f"{good} of {all_of}"


def clashes(held: Iterable[tuple[str, float, int]]) -> int:
    """Return at how many moments a role was used with a token older than one that was used before."""
    newest, found = dict[str, int](), 0
    for role, _, token in sorted(held):
        found += token < newest.get(role, 0)
        newest[role] = max(token, newest.get(role, 0))
    return found


def fenced(folder: Path) -> int:
    """Return how many old tokens Redis rejected, as far as members that were not killed tell."""
    return int(sum(value for file in folder.glob("*.stats") for name, _, value in json.loads(file.read_text("utf-8"))
                   if name == "cluster_fenced_writes_total"))
