"""Exchanges the members' parts of a listing's window through Redis: each member stores its own, the leader gathers all.

A part is cut into pieces of at most PIECE_BYTES. The pieces are stored first, then the entry that names them, so that the pieces
of every entry exist. A newer part replaces an older one. Everything expires after TTL_S. Keys have their window's hash tag:

    PREFIX:{part:CLUSTER:WINDOW}             hash: member and start of its window -> entry
    PREFIX:{part:CLUSTER:WINDOW}:MEMBER:AT:N  the N-th piece of the part that was made at this time

A window's parts may use PARTS_BYTES together; a part that does not fit is not stored, and its entry says so.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec

from pumpwatch.clock import NS_PER_S
from pumpwatch.cluster.part_codec import Interval, WindowPart, decode_part, encode_part
from pumpwatch.errors import StorageError
from pumpwatch.listing.listing_ledger import Call, call_here
from pumpwatch.model import Listing
from pumpwatch.redis.connection import Client, RedisConnection
from pumpwatch.redis.errors import RedisUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

PIECE_BYTES = 1 << 19
TTL_S = 2 * 3600
PARTS_BYTES = 256 << 20
ANSWER_S = 5.0  # for one piece, in the background
TRIES = 3  # a part that is replaced while it is read is read again


class PartEntry(msgspec.Struct, frozen=True):
    """Describes a stored part. problem: why it has no pieces; empty if it has."""

    member: str
    intervals: tuple[Interval, ...]
    made_at_ns: int
    pieces: int
    bytes: int
    crc: int
    trades: int
    final: bool = False
    problem: str = ""


def window_name(listings: Sequence[Listing]) -> str:
    """Return the name under which parts of a window are stored: a coin, a board and a day.

    It does not depend on the source that a member saw first. Several windows may have the same name; their intervals distinguish
    them.
    """
    first = min(listings, key=lambda listing: listing.announced_at_ns)
    day = first.announced_at_ns // (86_400 * NS_PER_S)
    board = blake2b(first.board.encode(), digest_size=6).hexdigest()
    return f"{'DRILL-' if first.drill else ''}{first.symbol}:{board}:{day}"


def overlap(some: Sequence[Interval], others: Sequence[Interval]) -> bool:
    """Return whether two windows overlap."""
    return any(start < to and since < end for start, end in some for since, to in others)


class WindowParts:
    """Stores and gathers parts. Encoding and decoding run in a thread by `offload`; only the calling greenlet waits."""

    def __init__(self, redis: RedisConnection, prefix: str, cluster: str, member: str, offload: Call = call_here,
                 parts_bytes: int = PARTS_BYTES) -> None:
        self._redis, self._prefix, self._cluster, self.member = redis, prefix, cluster, member
        self._offload, self._parts_bytes = offload, parts_bytes

    def _key(self, window: str) -> str:
        return f"{self._prefix}:{{part:{self._cluster}:{window}}}"

    def put(self, window: str, part: WindowPart) -> PartEntry:
        """Store this member's part in place of an older one, and return its entry. Raises RedisUnavailable."""
        key, facts = self._key(window), part.facts
        content = self._offload(encode_part, part)
        before = self.entries(window)
        taken = sum(entry.bytes for entry in before if entry.member != self.member)
        pieces = [content[start:start + PIECE_BYTES] for start in range(0, len(content), PIECE_BYTES)]
        problem = ""
        if taken + len(content) > self._parts_bytes:
            pieces = []
            problem = f"its part of {len(content) >> 20} MB does not fit into {self._parts_bytes >> 20} MB for all"
            log.warning("part of a window is too large for Redis window=%s bytes=%d", window, len(content))
        for number, piece in enumerate(pieces):
            self._ask("put part", _setting(self._piece(key, self.member, facts.made_at_ns, number), piece))
        entry = PartEntry(self.member, facts.intervals, facts.made_at_ns, len(pieces), sum(map(len, pieces)), zlib.crc32(content),
                          len(part.batch), facts.final, problem)
        old = [stored for stored in before if stored.member == self.member and stored.made_at_ns != facts.made_at_ns
               and overlap(stored.intervals, facts.intervals)]
        old_fields = {field_of(stored) for stored in old} - {field_of(entry)}
        old_pieces = [self._piece(key, self.member, stored.made_at_ns, number)
                      for stored in old for number in range(stored.pieces)]

        def enter(client: Client) -> None:
            client.hset(key, field_of(entry), msgspec.json.encode(entry))
            if old_fields:
                client.hdel(key, *old_fields)
            client.expire(key, TTL_S)
            if old_pieces:
                client.unlink(*old_pieces)

        self._ask("put part", enter)
        return entry

    def entries(self, window: str) -> list[PartEntry]:
        """Return the entries of the stored parts, the oldest first. Raises RedisUnavailable."""
        found: list[PartEntry] = []
        for content in self._ask("list parts", lambda client: client.hvals(self._key(window))):
            with suppress(msgspec.DecodeError):
                found.append(msgspec.json.decode(content, type=PartEntry))
        return sorted(found, key=lambda entry: entry.made_at_ns)

    def gather(self, window: str, intervals: Sequence[Interval]) -> tuple[list[WindowPart], dict[str, str]]:
        """Return the parts of the other members, and the members whose part cannot be read, with the reason.

        intervals: of the window. Raises RedisUnavailable if not even the entries can be read.
        """
        parts: list[WindowPart] = []
        missing: dict[str, str] = {}
        members = {entry.member for entry in self.entries(window) if overlap(entry.intervals, intervals)}
        for member in sorted(members - {self.member}):
            try:
                parts.append(self._part_of(window, member, intervals))
            except (RedisUnavailable, StorageError) as error:
                missing[member] = error.message
        return parts, missing

    def _part_of(self, window: str, member: str, intervals: Sequence[Interval]) -> WindowPart:
        """Return a member's part. Raises RedisUnavailable, and StorageError if the part is damaged or gone."""
        for _ in range(TRIES):
            entry = next((entry for entry in reversed(self.entries(window))
                          if entry.member == member and overlap(entry.intervals, intervals)), None)
            if entry is None:
                break
            if entry.problem:
                raise StorageError(entry.problem)
            pieces = [self._ask("get part", _getting(self._piece(self._key(window), member, entry.made_at_ns, number)))
                      for number in range(entry.pieces)]
            content = b"".join(piece for piece in pieces if piece is not None)
            if len(content) == entry.bytes and zlib.crc32(content) == entry.crc:
                part = self._offload(decode_part, content)
                if part.facts.member != member:
                    raise StorageError("its part names another member")
                return part
        raise StorageError("its part is gone or damaged")

    @staticmethod
    def _piece(key: str, member: str, made_at_ns: int, number: int) -> str:
        return f"{key}:{member}:{made_at_ns}:{number}"

    def _ask(self, operation: str, function: Callable[[Client], T]) -> T:
        return self._redis.call(operation, function, ANSWER_S)


def field_of(entry: PartEntry) -> str:
    """Return the hash field of an entry, which contains its start because a member may have parts of several windows."""
    return f"{entry.member} {entry.intervals[0][0] if entry.intervals else 0}"


def _setting(name: str, content: bytes) -> Callable[[Client], Any]:
    return lambda client: client.set(name, content, ex=TTL_S)


def _getting(name: str) -> Callable[[Client], bytes | None]:
    return lambda client: client.get(name)
