"""Keep the last minutes of trades in memory, in buckets by time of arrival.

A bucket holds a few seconds. An open bucket is a list of batches; `compact` (in a worker) sorts a closed bucket by instrument
and encodes it in chunks, so that one coin's trades are a small chunk of each bucket. A bucket knows the range of its trades'
own times, so a query finds late trades in the bucket in which they arrived.

Memory is complete since a time of arrival. A trade whose own time is far ahead of its arrival (the venue's clock or ours is
wrong) does not change that: once its bucket is dropped, only the span of such times is read from the journal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import TradeBatch
from pumpwatch.store import codec
from pumpwatch.store.reader import by_time

CHUNK_ROWS = 2000
BUCKET_ROWS = 100_000
MAX_BYTES = 512 << 20
AHEAD_NS = 60 * NS_PER_S  # more than a correct clock differs from ours
SPANS_KEPT = 64  # spans of times far ahead; beyond that, the two nearest are joined
_ROW_BYTES = 54  # of a row in the columns of a batch


@dataclass(frozen=True, slots=True)
class _Chunks:
    """The content of a closed bucket: chunk i holds the instruments first[i] to last[i]."""

    first: list[int]
    last: list[int]
    blobs: list[bytes]


Held = list[TradeBatch] | _Chunks  # one bucket: open, or closed and encoded


@dataclass(slots=True)
class _Bucket:
    opened_ns: int  # the age of memory at that time
    first_timestamp: int = 2**63 - 1
    last_timestamp: int = -(2**63)
    last_usual: int = -(2**63)  # the newest time that is not far ahead
    first_ahead: int = 2**63 - 1
    rows: int = 0
    batches: list[TradeBatch] = field(default_factory=list)
    chunks: _Chunks | None = None
    size: int = 0  # bytes in use now


class Recent:
    """The trades that arrived in the last `minutes`, or fewer if they would exceed `max_bytes`.

    `add`, `held`, `query`, `limit` and the attributes belong to the hub's thread, `compact` to one worker thread, and `extract`
    to any thread.
    """

    def __init__(self, minutes: float, bucket_s: float = 10.0, *, max_bytes: int = MAX_BYTES) -> None:
        self._span_ns = int(minutes * 60 * NS_PER_S)
        self._bucket_ns = int(bucket_s * NS_PER_S)
        self._max_bytes = max_bytes
        self._buckets: deque[_Bucket] = deque()
        self._encoder = codec.BatchEncoder()  # the worker's
        self._size = 0
        self._age_ns, self._seen_ns = 0, 0  # the age of memory, which never decreases; the last time of arrival
        self._spans: list[tuple[int, int]] = []  # [from, to), ascending
        self._before_ns = 0
        self.rows = 0
        self.covers_from_ns = 2**63 - 1  # every trade from this timestamp on is here, except what `elsewhere` names

    def set_earlier_end(self, last_ns: int) -> None:
        """Set the newest timestamp that an earlier run stored. Call it before the first trade."""
        self._before_ns = last_ns

    @property
    def earlier_end_ns(self) -> int:
        """Return the newest timestamp that an earlier run stored, 0 if unknown."""
        return self._before_ns

    def add(self, batch: TradeBatch) -> None:
        """Add a batch that was just received."""
        rows = len(batch)
        if not rows:
            return
        now_ns = int(batch.received_at[-1])
        self._age_ns += max(0, now_ns - self._seen_ns) if self._seen_ns else 0
        self._seen_ns = now_ns
        bucket = self._buckets[-1] if self._buckets else None
        if bucket is None or self._age_ns - bucket.opened_ns >= self._bucket_ns or bucket.rows >= BUCKET_ROWS:
            bucket = self._open_bucket(now_ns)
        bucket.batches.append(batch)
        bucket.rows += rows
        bucket.size += rows * _ROW_BYTES
        self.rows += rows
        first, last = int(batch.timestamp.min()), int(batch.timestamp.max())
        bucket.first_timestamp = min(bucket.first_timestamp, first)
        bucket.last_timestamp = max(bucket.last_timestamp, last)
        if last > now_ns + AHEAD_NS:
            ahead = batch.timestamp > batch.received_at + AHEAD_NS
            bucket.first_ahead = min(bucket.first_ahead, int(batch.timestamp[ahead].min(initial=2**63 - 1)))
            last = int(batch.timestamp[~ahead].max(initial=-(2**63)))
        bucket.last_usual = max(bucket.last_usual, last)

    def _open_bucket(self, now_ns: int) -> _Bucket:
        if not self._buckets:
            self.covers_from_ns = min(self.covers_from_ns, now_ns)
            if self._before_ns >= now_ns:  # the clock was turned back between the runs
                self._add_span(now_ns, self._before_ns + 1)
        bucket = _Bucket(self._age_ns)
        self._buckets.append(bucket)
        self._drop_oldest()
        return bucket

    def _drop_oldest(self) -> None:
        while len(self._buckets) > 1 and (self._buckets[1].opened_ns <= self._age_ns - self._span_ns
                                          or self.nbytes > self._max_bytes):
            gone = self._buckets.popleft()
            self.rows -= gone.rows
            self.covers_from_ns = max(self.covers_from_ns, gone.last_usual + 1)
            if gone.first_ahead <= gone.last_timestamp:
                self._add_span(gone.first_ahead, gone.last_timestamp + 1)

    @property
    def max_bytes(self) -> int:
        """Return the maximum number of bytes in use."""
        return self._max_bytes

    def limit(self, max_bytes: int) -> None:
        """Set the maximum number of bytes in use, and drop the oldest trades beyond it; the journal has them."""
        self._max_bytes = max_bytes
        self._drop_oldest()

    def _add_span(self, first_ns: int, end_ns: int) -> None:
        spans: list[tuple[int, int]] = []
        for first, end in sorted([*self._spans, (first_ns, end_ns)]):
            if spans and first <= spans[-1][1] + AHEAD_NS:
                spans[-1] = spans[-1][0], max(end, spans[-1][1])
            else:
                spans.append((first, end))
        if len(spans) > SPANS_KEPT:
            at = min(range(1, len(spans)), key=lambda index: spans[index][0] - spans[index - 1][1])
            spans[at - 1 : at + 1] = [(spans[at - 1][0], spans[at][1])]
        self._spans = spans

    def elsewhere(self, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        """Return the parts of [start_ns, end_ns), ascending, whose trades may be in the journal only."""
        covered_ns = max(start_ns, min(end_ns, self.covers_from_ns))
        parts = [(start_ns, covered_ns), *((max(first, covered_ns), min(end, end_ns)) for first, end in self._spans)]
        return [(first, end) for first, end in parts if first < end]

    @property
    def nbytes(self) -> int:
        """Return the bytes in use, including open buckets."""
        return sum(bucket.size for bucket in self._buckets)

    def query(self, ids: Sequence[int], start_ns: int, end_ns: int) -> TradeBatch:
        """Return the trades of these instruments in [start_ns, end_ns), by timestamp."""
        return extract(self.held(start_ns, end_ns), ids, start_ns, end_ns)

    def held(self, start_ns: int, end_ns: int) -> list[Held]:
        """Return a snapshot of the buckets that may hold trades of [start_ns, end_ns), for `extract`. Fast."""
        found: list[Held] = []
        for bucket in self._buckets:
            if bucket.last_timestamp >= start_ns and bucket.first_timestamp < end_ns:
                batches, chunks = list(bucket.batches), bucket.chunks  # in this order: compact sets chunks, then batches
                found.append(batches if chunks is None else chunks)
        return found

    def compact(self) -> int:
        """Encode the closed buckets; return their number. It blocks the hub for at most one chunk."""
        done = 0
        for bucket in list(self._buckets)[:-1]:
            if bucket.chunks is None:
                chunks = self._encode(bucket)
                size = sum(len(blob) + 64 for blob in chunks.blobs)
                bucket.chunks = chunks  # queries read these from here on
                bucket.batches = []
                bucket.size = size
                done += 1
        return done

    def _encode(self, bucket: _Bucket) -> _Chunks:
        batch = codec.grouped(TradeBatch.concat(bucket.batches))
        chunks = _Chunks([], [], [])
        for part in codec.split(batch, CHUNK_ROWS):
            chunks.first.append(int(part.instrument[0]))
            chunks.last.append(int(part.instrument[-1]))
            chunks.blobs.append(b"".join(self._encoder.encode_parts(part)))
        return chunks


def extract(held: Sequence[Held], ids: Sequence[int], start_ns: int, end_ns: int) -> TradeBatch:
    """Return the trades of these instruments in [start_ns, end_ns), by timestamp. Slow for many trades: use a thread."""
    wanted, decoder = sorted(set(ids)), codec.BatchDecoder()
    found: list[TradeBatch] = []
    for part in held:
        if isinstance(part, _Chunks):
            for first, last, blob in zip(part.first, part.last, part.blobs, strict=True):
                inside = [number for number in wanted if first <= number <= last]
                if inside:
                    _take(found, decoder.decode(blob), inside, start_ns, end_ns)
        elif wanted:
            for batch in part:
                _take(found, batch, wanted, start_ns, end_ns)
    return by_time(found)


def _take(found: list[TradeBatch], batch: TradeBatch, wanted: Sequence[int], start_ns: int, end_ns: int) -> None:
    rows: NDArray[np.bool_] = batch.instrument == wanted[0]
    for number in wanted[1:]:
        rows |= batch.instrument == number
    rows &= (batch.timestamp >= start_ns) & (batch.timestamp < end_ns)
    if rows.any():
        found.append(batch.take(rows))
