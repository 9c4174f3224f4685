"""Sends what the journal holds to one sink, in order, and acknowledges what the sink has answered for.

Memory is the newest end of the journal: batches are sent from there while the sink keeps up. Where more than
`memory_rows` wait, the oldest leave memory and are read back from the journal, in larger batches, until memory's
first is reached. A commit may be several batches in the journal and is one in memory, named by its last id. Nothing
here slows the journal or the feeds, whatever the sink does.

An answer of a sink is no proof that the trade stays there. So sending goes back, and sends again from the journal, what
a power cut of the sink's host could have taken (at each start, and when its server was started anew), everything when
the sink turns out to hold nothing, and what an audit of its row counts finds missing. Sending twice is harmless.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import gevent
import msgspec
import numpy as np
from gevent.event import Event
from gevent.threadpool import ThreadPool

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.config import DrainConfig
from pumpwatch.errors import ConfigError, PumpWatchError, ServiceUnavailable, StorageError
from pumpwatch.hookspecs import CountingSink, Keeping, KeepingSink, Sink, WriteResult
from pumpwatch.model import TradeBatch
from pumpwatch.net.backoff import Backoff
from pumpwatch.net.texts import one_line
from pumpwatch.stats import Stats
from pumpwatch.store.audit import Audit, JournalCensus, taken_minutes
from pumpwatch.store.rejected_rows import store_all
from pumpwatch.store.trade_rows import trade_records
from pumpwatch.store.watermarks import Answers, Watermarks
from pumpwatch.supervisor import guarded

log = logging.getLogger(__name__)

Entry = tuple[int, TradeBatch]
NEVER_READ = 2**63 - 1
RETRY_BASE_S, RETRY_CAP_S = 0.25, 5.0
STOP_S = 2.0
AUDIT_FIRST_S, AUDIT_S = 30.0, 120.0
AWAY_S = 10.0  # a sink that was away so long, and cannot say that it ran on, is taken to have started anew


class DrainJournal(Protocol):
    """What a drain asks of the journal."""

    def read_after(self, batch_id: int, max_rows: int) -> Sequence[Entry]:
        """Return the oldest batches after this one, about `max_rows` trades, at least one if any. In its thread."""

    def acknowledge(self, sink: str, batch_id: int, safe_id: int | None = None) -> None:
        """Note that the sink has this batch and all before it, and up to where that survives a power cut of its host."""

    @property
    def watermarks(self) -> Watermarks:
        """How far each sink is."""

    def census(self) -> JournalCensus:
        """Return a way to count what the journal holds, for another thread."""


class Drain:
    """One sink's way out of the journal: a greenlet (`run`) and a thread of its own for the sink's calls."""

    def __init__(
        self, name: str, sink: Sink, journal: DrainJournal, run_in_journal_thread: Callable[..., Any],
        catalogue: Catalogue, stats: Stats, clock: Clock, on_quarantine: Callable[[str, str, str, bytes], None],
        options: DrainConfig, trouble_poll_s: float = 5.0, audit_s: tuple[float, float] = (AUDIT_FIRST_S, AUDIT_S),
    ) -> None:
        self._name, self._sink, self._journal = name, sink, journal
        self._in_journal_thread, self._catalogue = run_in_journal_thread, catalogue
        self._stats, self._clock, self._on_quarantine, self._options = stats, clock, on_quarantine, options
        self._trouble_poll_s, self._audit_s = trouble_poll_s, audit_s
        self._thread = ThreadPool(1)
        self._memory: deque[Entry] = deque()  # the newest batches, none missing between them
        self._memory_rows = 0
        self._cursor = -1  # the last batch acknowledged
        self._journal_upto = NEVER_READ  # batches after the cursor and up to here are read from the journal
        self._arrived, self._full, self._stopping, self._idle = Event(), Event(), Event(), Event()
        self._idle.set()  # `run` is not running
        self._backoff = Backoff(RETRY_BASE_S, RETRY_CAP_S, cool_after=2**31)
        self._open = self._tried = False
        self._down_since: float | None = None
        self._trouble = self._odd = ""  # what the sink says, and the last error of a watch that no sink should raise
        self._left_over: int | None = None  # trades in the journal from before the start; None: not asked yet
        self._offered_rows = self._settled_rows = 0
        self._answers = Answers(0)
        self._keeping: Keeping | None = None  # as the sink said last
        self._filled = False  # the sink has acknowledged something since it was known to hold nothing
        self._back_to: tuple[int, str] | None = None  # send all after this batch again, and why
        self._refill_upto = -1  # what was missing ends with this batch
        self._audit = Audit(name, sink, journal.census(), clock) if isinstance(sink, CountingSink) else None

    @property
    def state(self) -> str:
        """In one word or line: starting, up, down, refilling N trades, or the sink's own trouble."""
        if self._trouble:
            return self._trouble
        if self._down_since is not None:
            return "down"
        if self._cursor < self._refill_upto:
            return f"refilling {self.lag_rows:,} trades"
        return "up" if self._open else "starting"

    @property
    def lag_rows(self) -> int:
        """Trades that are durable here and not in the sink."""
        return max(0, (self._left_over or 0) + self._offered_rows - self._settled_rows)

    def offer(self, batch_id: int, batch: TradeBatch) -> None:
        """Take a batch whose commit is durable. Never blocks; ids must ascend."""
        self._offered_rows += len(batch)
        if self._journal_upto == NEVER_READ:
            self._journal_upto = batch_id  # where memory begins
        else:
            self._memory.append((batch_id, batch))
            self._memory_rows += len(batch)
        while self._memory_rows > self._options.memory_rows:
            dropped_id, dropped = self._memory.popleft()
            self._memory_rows -= len(dropped)
            self._journal_upto = max(self._journal_upto, dropped_id)
        self._arrived.set()
        if self._memory_rows >= self._options.flush_rows:
            self._full.set()

    def open(self) -> None:
        """Open the sink. Raises ConfigError where only a person can mend it, ServiceUnavailable where time may."""
        self._open = False
        self._thread.apply(self._sink.open)
        self._learn(self._thread.apply(self._ask_keeping))
        self._open = True
        self._stats.set("sink_up", 1, sink=self._name)

    def run(self) -> None:
        """Send until stopped. May be run again after it failed; nothing is forgotten.

        The sink is opened at once, not when there is something to send: raises ConfigError where that shows, the first
        time, that only a person can mend it. Afterwards it is a sink that is down.
        """
        if self._left_over is None:
            self._begin()
        watches = [gevent.spawn(self._watch_sink), gevent.spawn(self._watch_rows)]
        self._idle.clear()
        try:
            if not self._tried:
                self._open_first()
            while not self._stopping.is_set():
                self._wait_until_due()
                self._send_or_wait()
            self._send_rest()
        finally:
            gevent.killall(watches)
            self._idle.set()

    def _begin(self) -> None:
        """Find where to go on: at the last answer that a power cut of the sink's host cannot have taken back."""
        marks = self._journal.watermarks
        self._cursor = marks.safe(self._name)
        self._answers, self._filled = Answers(self._cursor), marks.acknowledged(self._name) > 0
        if self._audit is not None:
            self._audit.begin(self._cursor)
        offered = self._offered_rows  # what is offered during the count may be counted twice, but not left out
        waiting, backlog = self._in_journal_thread(lambda: (marks.trades_after(self._cursor), marks.backlog(self._name)))
        self._left_over = waiting - offered
        if waiting > backlog:
            log.info("sink=%s trades=%d are sent again reason='a power cut of its host could have taken them'", self._name,
                     waiting - backlog)

    def _open_first(self) -> None:
        self._tried = True
        try:
            self.open()
        except ServiceUnavailable as error:
            self._failed(error)

    def stop(self, within_s: float = STOP_S) -> None:
        """Have `run` send what it can and return; what is not sent by then stays in the journal."""
        self._stopping.set()
        self._arrived.set()
        self._full.set()
        if self._audit is not None:
            self._audit.stop()
        if self._idle.wait(within_s):
            self._thread.spawn(self._sink.close).wait(1.0)

    def _wait_until_due(self) -> None:
        """Return when there is something to send and it is enough, or has waited long enough, or to go back."""
        if self._back_to or self._journal_upto > self._cursor or self._memory_rows >= self._options.flush_rows:
            return
        self._arrived.wait()
        self._full.wait(self._options.flush_ms / 1000)

    def _send_or_wait(self) -> None:
        try:
            if self._trouble:
                raise ServiceUnavailable(self._trouble)
            if not self._open:
                self.open()
            self._go_back()
            entries = self._next_entries()
            if entries:
                self._deliver(entries)
        except (ServiceUnavailable, ConfigError) as error:  # a schema changed under us: a person will mend it
            self._failed(error)
            self._stopping.wait(self._backoff.next_s())
        except StorageError as error:  # nothing is passed over: a part that is locked is read another time
            log.warning("sink=%s waits for the journal reason=%r", self._name, error.message)
            self._stopping.wait(self._backoff.next_s())

    def _send_rest(self) -> None:
        """Send what is in memory where that is all there is: a journal full of backlog is for the next start."""
        self._go_back()
        while self._down_since is None and self._open and self._journal_upto <= self._cursor and self._memory:
            try:
                self._deliver(self._next_entries())
            except (ServiceUnavailable, ConfigError) as error:
                self._failed(error)

    def _next_entries(self) -> list[Entry]:
        """Return the oldest batches that the sink does not have, from the journal or from memory.

        After a failure fewer, so that a sink that is merely slow answers in time.
        """
        wanted = self._options.catch_up_rows if self._down_since is None else self._options.flush_rows
        entries: list[Entry] = []
        while self._journal_upto > self._cursor and not entries:
            upto = self._journal_upto
            found = self._in_journal_thread(self._journal.read_after, self._cursor, wanted)
            entries = [entry for entry in found if entry[0] <= upto]
            if entries and (entries[-1][0] < upto or self._journal_upto != upto):
                return entries  # memory does not follow on these
            if not entries and self._journal_upto == upto:
                self._journal_upto = self._cursor  # the journal has no more of it
        rows = sum(len(batch) for _, batch in entries)
        for entry in self._memory:
            rows += len(entry[1])
            if entries and rows > wanted:
                break
            entries.append(entry)
        return entries

    def _deliver(self, entries: Sequence[Entry]) -> None:
        """Send these batches as one, put what is refused for ever in quarantine, and acknowledge."""
        batch, sent = self._thread.apply(self._joined, (entries,))
        started = self._clock.monotonic()
        refused = store_all(self._write, batch)
        self._stats.add("sink_write_seconds_total", self._clock.monotonic() - started, sink=self._name)
        if refused:
            self._quarantine(batch, refused)
        self._stats.add("sink_rows_total", len(batch) - len(refused), sink=self._name)
        self._stats.add("sink_writes_total", sink=self._name)
        if self._audit is not None:
            minutes = self._thread.apply(taken_minutes, (batch, sent, [row for row, _ in refused], self._audit.from_ns()))
            self._audit.add(minutes, entries[-1][0])
        self._settle(entries[-1][0], len(batch))
        self._succeeded()

    def _joined(self, entries: Sequence[Entry]) -> tuple[TradeBatch, int]:
        """Return the batches as one, and how many of its first rows were sent before. In the sink's thread."""
        upto = self._audit.counted_upto if self._audit is not None else 0
        sent = sum(len(one) for number, one in entries if number <= upto)
        return TradeBatch.concat([one for _, one in entries]), sent

    def _write(self, batch: TradeBatch) -> WriteResult:
        result: WriteResult = self._thread.apply(self._sink.write, (batch, self._catalogue))
        return result

    def _settle(self, batch_id: int, rows: int) -> None:
        now = self._clock.monotonic()
        self._cursor, self._filled = batch_id, True
        self._answers.record(batch_id, now)
        at_risk_s = (self._keeping or Keeping()).at_risk_s
        self._journal.acknowledge(self._name, batch_id, self._answers.alive(now, at_risk_s))
        while self._memory and self._memory[0][0] <= batch_id:
            self._memory_rows -= len(self._memory.popleft()[1])
        if not self._memory and not self._stopping.is_set():
            self._arrived.clear()
        if self._memory_rows < self._options.flush_rows and not self._stopping.is_set():
            self._full.clear()
        self._settled_rows += rows
        if not self._memory and self._journal_upto <= batch_id:  # nothing waits, however it was counted
            self._left_over = self._offered_rows = self._settled_rows = 0
        self._stats.set("sink_lag_rows", self.lag_rows, sink=self._name)

    def _quarantine(self, batch: TradeBatch, refused: Sequence[tuple[int, str]]) -> None:
        self._stats.add("sink_refused_total", len(refused), sink=self._name)
        log.warning("sink=%s refused=%d of=%d reason=%r: quarantined", self._name, len(refused), len(batch),
                    refused[0][1])
        rows = trade_records(batch.take(np.array([row for row, _ in refused])), self._catalogue)
        for (_, reason), row in zip(refused, rows, strict=True):
            self._on_quarantine(row["exchange"], row["market_type"], f"sink {self._name}: {reason}",
                                msgspec.json.encode(row))

    def _failed(self, error: ServiceUnavailable | ConfigError) -> None:
        self._open = False
        if self._down_since is None:
            self._down_since = self._clock.monotonic()
            log.warning("sink=%s state=down backlog=%d reason=%r: trades stay in the journal", self._name,
                        self.lag_rows, one_line("; ".join(filter(None, (error.message, error.hint))), 500))
        self._stats.set("sink_up", 0, sink=self._name)
        self._stats.set("sink_lag_rows", self.lag_rows, sink=self._name)

    def _succeeded(self) -> None:
        self._backoff.reset()
        self._stats.set("sink_up", 1, sink=self._name)
        if self._down_since is not None:
            log.warning("sink=%s state=up after_s=%.1f backlog=%d", self._name,
                        self._clock.monotonic() - self._down_since, self.lag_rows)
            self._down_since = None

    def _watch_sink(self) -> None:
        """Ask the sink now and then whether what it took becomes visible (where not, sending pauses) and is still there."""
        while True:
            gevent.sleep(self._trouble_poll_s)
            if not guarded(self._ask_sink, self._watch_failed):
                self._trouble = ""  # not known any more

    def _ask_sink(self) -> None:
        try:
            self._trouble = self._sink.trouble()
            if self._open:
                self._learn(self._ask_keeping())
        except PumpWatchError:
            self._trouble = ""  # not known any more: the next write says what is wrong

    def _watch_failed(self, error: Exception) -> None:
        """Name an error that no sink should raise once, and watch on."""
        odd = f"{type(error).__name__}: {error}"
        if odd != self._odd:
            log.error("sink=%s a look at it failed and is made again reason=%r", self._name, odd)
        self._odd = odd

    def _ask_keeping(self) -> Keeping:
        return self._sink.keeping() if isinstance(self._sink, KeepingSink) else Keeping()

    def _learn(self, keeping: Keeping) -> None:
        """Compare what the sink says of itself with what it said before; go back where it may have lost something."""
        before, self._keeping = self._keeping, keeping
        if self._audit is not None:
            self._audit.keeps_s = keeping.keeps_s
        away_s = 0.0 if self._down_since is None else self._clock.monotonic() - self._down_since
        if keeping.empty and self._filled:
            self._filled = False
            self._send_again(0, "it holds no trade any more", missing=True)
        elif before and (keeping.run != before.run or (not keeping.run and away_s >= AWAY_S)):
            self._send_again(self._answers.safe, "its server was started anew, or a table of it is another one")

    def _send_again(self, batch_id: int, reason: str, missing: bool = False) -> None:
        """Have everything after this batch sent again, on a new connection, before anything else."""
        if self._back_to is None or batch_id < self._back_to[0]:
            self._back_to = batch_id, reason
        if missing:
            self._refill_upto = max(self._refill_upto, self._cursor)
        self._open = False  # what is cached on the connection may be of a table that is gone
        self._arrived.set()
        self._full.set()

    def _go_back(self) -> None:
        """Do what `_send_again` asked for; between two deliveries only."""
        if self._back_to is None:
            return
        marks = self._journal.watermarks
        (batch_id, reason), self._back_to = self._back_to, None
        again = self._in_journal_thread(lambda: marks.trades_after(batch_id) - marks.trades_after(self._cursor))
        if batch_id >= self._cursor:
            return
        log.warning("sink=%s trades=%d are sent again reason=%r", self._name, again, reason)
        self._stats.add("sink_sent_again_total", again, sink=self._name)
        if self._journal_upto != NEVER_READ:
            self._journal_upto = max(self._journal_upto, self._cursor)
        self._left_over = (self._left_over or 0) + again
        self._cursor = batch_id
        self._answers.go_back(batch_id)
        marks.go_back(self._name, batch_id)

    def _watch_rows(self) -> None:
        """Compare the sink's row counts with the journal's now and then."""
        audit = self._audit
        if audit is None:
            return
        gevent.sleep(self._audit_s[0])
        while True:
            guarded(lambda: self._compare_rows(audit), self._watch_failed)
            gevent.sleep(self._audit_s[1])

    def _compare_rows(self, audit: Audit) -> None:
        audit.count_past()
        try:
            loss = audit.look() if self.state == "up" and self._back_to is None else None
        except PumpWatchError as error:
            log.debug("sink=%s cannot be counted now reason=%s", self._name, error.message)
        else:
            if loss is not None and self.state == "up":
                self._send_again(loss.after_id, f"rows are missing, about {loss.trades:,}", missing=True)
