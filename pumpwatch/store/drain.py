"""Send the journal's trades to one sink, in order, and record the batches that the sink has acknowledged.

While the sink keeps up, batches are sent from memory, which holds the newest end of the journal. If more than `memory_rows`
wait, the oldest are read back from the journal, in larger batches, up to the first batch in memory. A commit may be several
batches in the journal; in memory it is one batch with the last id. A slow sink never slows the journal or the feeds.

An acknowledgement does not prove that the trades stay in the sink. So the drain goes back and sends trades from the journal
again: those that a power cut of the sink's host may have lost (at each start, and after a restart of its server), everything if
the sink turns out to be empty, and those that an audit of its row counts finds missing. Sending trades twice is harmless.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import gevent
from gevent.event import Event
from gevent.threadpool import ThreadPool

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.config import DrainConfig
from pumpwatch.errors import ConfigError, PumpWatchError, ServiceUnavailable, StorageError
from pumpwatch.hookspecs import Keeping, Sink
from pumpwatch.model import TradeBatch
from pumpwatch.net.backoff import Backoff
from pumpwatch.net.texts import one_line
from pumpwatch.records import Records
from pumpwatch.sink_abilities import CountingSink
from pumpwatch.stats import Stats
from pumpwatch.store.audit import Audit, taken_minutes
from pumpwatch.store.drain_journal import DrainJournal, Entry
from pumpwatch.store.rejected_rows import quarantined, store_all
from pumpwatch.store.share import WHOLE, Share
from pumpwatch.store.sink_watch import SinkWatch
from pumpwatch.store.watermarks import Answers
from pumpwatch.supervisor import guarded

log = logging.getLogger(__name__)

NEVER_READ = 2**63 - 1
RETRY_BASE_S, RETRY_CAP_S = 0.25, 5.0
STOP_S = 2.0
AUDIT_FIRST_S, AUDIT_S = 30.0, 120.0
AWAY_S = 10.0  # a sink that was down this long and does not report its run counts as restarted


class Drain:
    """Feeds one sink from the journal, with a greenlet (`run`) and its own thread for the sink's calls."""

    def __init__(
        self, name: str, sink: Sink, journal: DrainJournal, catalogue: Catalogue, stats: Stats, clock: Clock,
        record: Callable[[Records], None], options: DrainConfig, trouble_poll_s: float = 5.0,
        audit_s: tuple[float, float] = (AUDIT_FIRST_S, AUDIT_S), share: int = WHOLE, shared: bool = False,
    ) -> None:
        self._name, self._sink, self._journal, self._catalogue = name, sink, journal, catalogue
        self._stats, self._clock, self._record, self._options, self._audit_s = stats, clock, record, options, audit_s
        self._watch = SinkWatch(name, sink, trouble_poll_s, lambda: self._open, self._compare_keeping)
        self._share, self._wanted_share = Share(catalogue, share), share
        self._thread = ThreadPool(1)
        self._memory: deque[Entry] = deque()  # the newest batches, without a hole
        self._memory_rows = 0
        self._cursor = -1  # the last acknowledged batch
        self._journal_upto = NEVER_READ  # batches after the cursor and up to this one are read from the journal
        self._arrived, self._full, self._stopping, self._idle = Event(), Event(), Event(), Event()
        self._idle.set()
        self._backoff = Backoff(RETRY_BASE_S, RETRY_CAP_S, cool_after=2**31)
        self._open = self._tried = False
        self._down_since: float | None = None
        self._journal_refuses = False  # the last read failed, and that was logged
        self._left_over: int | None = None  # unsent trades of earlier runs; None: not counted yet
        self._offered_rows = self._settled_rows = 0
        self._answers = Answers(0)
        self._keeping: Keeping | None = None  # the sink's last report
        self._filled = False  # the sink has acknowledged trades since it was last seen empty
        self._back_to: tuple[int, str] | None = None  # (batch, reason): send everything after this batch again
        self._refill_upto = -1  # the last batch of a refill
        self._audit = Audit(name, sink, journal.census(), clock, shared) if isinstance(sink, CountingSink) else None

    @property
    def state(self) -> str:
        """Return off (its share is 0), starting, up, down, `refilling N trades`, or a line with the sink's own trouble."""
        if not self._share.percent:
            return "off"
        if self._watch.trouble:
            return self._watch.trouble
        if self._down_since is not None:
            return "down"
        if self._cursor < self._refill_upto:
            return f"refilling {self.lag_rows:,} trades"
        return "up" if self._open else "starting"

    @property
    def lag_rows(self) -> int:
        """Return the number of trades that are durable in the journal and not yet in the sink."""
        return max(0, (self._left_over or 0) + self._offered_rows - self._settled_rows)

    @property
    def cursor(self) -> int:
        """Return the last batch up to which the sink has every trade of its share, -1 while trades must be sent again."""
        return -1 if self._back_to or self._wanted_share != self._share.percent else self._cursor

    def set_share(self, percent: int) -> None:
        """Change the percent of the instruments that the sink gets, after the current delivery. Never blocks."""
        self._wanted_share = percent
        self._wake()

    def offer(self, batch_id: int, batch: TradeBatch) -> None:
        """Queue a durable batch. Never blocks; ids must ascend."""
        self._offered_rows += len(batch)
        if self._journal_upto == NEVER_READ or not self._share.percent:
            self._journal_upto = batch_id  # where memory begins
        else:
            self._memory.append((batch_id, batch))
            self._memory_rows += len(batch)
        while self._memory_rows > self._options.memory_rows:
            dropped_id, dropped = self._memory.popleft()
            self._memory_rows -= len(dropped)
            self._journal_upto = max(self._journal_upto, dropped_id)
        if self._share.percent:
            self._arrived.set()
        if self._memory_rows >= self._options.flush_rows:
            self._full.set()

    def open(self) -> None:
        """Open the sink. Raises ConfigError if a person must act, ServiceUnavailable if waiting may help."""
        self._open = False
        self._thread.apply(self._sink.open)
        self._compare_keeping(self._watch.keeping())
        self._open = True
        self._stats.set("sink_up", 1, sink=self._name)

    def run(self) -> None:
        """Open the sink, then send until stopped. After an error, `run` may be called again: nothing is forgotten.

        The first call raises ConfigError if a person must act; later such a sink counts as down.
        """
        if self._left_over is None:
            self._begin()
        watches = [gevent.spawn(self._watch.run), gevent.spawn(self._watch_rows)]
        self._idle.clear()
        try:
            if not self._tried and self._share.percent:
                self._tried = True
                try:
                    self.open()
                except ServiceUnavailable as error:
                    self._failed(error)
            while not self._stopping.is_set():
                self._wait_until_due()
                self._send_or_wait()
            self._send_rest()
        finally:
            gevent.killall(watches)
            self._idle.set()

    def _begin(self) -> None:
        """Resume after the last batch that is safe from a power cut of the sink's host."""
        marks = self._journal.watermarks
        marks.set_share(self._name, self._share.percent)
        self._cursor = marks.safe(self._name)
        self._answers, self._filled = Answers(self._cursor), marks.acknowledged(self._name) > 0 and self._share.percent > 0
        if self._audit is not None:
            self._audit.begin(self._cursor)
        offered = self._offered_rows  # a batch offered during the count may be counted twice, but is never missed
        self._left_over = self._journal.trades_after(self._cursor) - offered
        again = self._journal.trades_between(self._cursor, marks.acknowledged(self._name))
        if again > 0:
            log.info("sending trades again sink=%s trades=%d reason='a power cut of its host could have taken them'", self._name,
                     again)

    def stop(self, within_s: float = STOP_S) -> None:
        """Let `run` send what it can and return; the rest stays in the journal."""
        self._stopping.set()
        self._wake()
        if self._audit is not None:
            self._audit.stop()
        if self._idle.wait(within_s):
            self._thread.spawn(self._sink.close).wait(1.0)

    def _wake(self) -> None:
        self._arrived.set()
        self._full.set()

    def _wait_until_due(self) -> None:
        """Return once enough trades wait, or they have waited long enough, or the drain must go back."""
        if self._wanted_share != self._share.percent:
            return
        if not self._share.percent and not self._stopping.is_set():
            self._arrived.clear()
        elif self._back_to or self._journal_upto > self._cursor or self._memory_rows >= self._options.flush_rows:
            return
        self._arrived.wait()
        self._full.wait(self._options.flush_ms / 1000)

    def _send_or_wait(self) -> None:
        self._take_share()
        if not self._share.percent:
            return
        try:
            if self._watch.trouble:
                raise ServiceUnavailable(self._watch.trouble)
            if not self._open:
                self.open()
            self._go_back()
            entries = self._next_entries()
            if entries:
                self._deliver(entries)
            elif not self._memory and not self._stopping.is_set():
                self._arrived.clear()
                self._full.clear()
        except (ServiceUnavailable, ConfigError) as error:  # ConfigError: a table was changed meanwhile
            self._failed(error)
            self._stopping.wait(self._backoff.next_s())
        except StorageError as error:  # a locked segment is not skipped but read again later
            if not self._journal_refuses:
                log.warning("sink waits for the journal sink=%s reason=%r", self._name, error.message)
            self._journal_refuses = True
            self._stopping.wait(self._backoff.next_s())

    def _take_share(self) -> None:
        """Switch to the wanted share. Call it only between two deliveries."""
        percent = self._wanted_share
        if percent == self._share.percent:
            return
        after_id = self._journal.watermarks.set_share(self._name, percent)
        log.info("sink gets another share sink=%s percent=%d before=%d", self._name, percent, self._share.percent)
        self._share.percent = percent
        if not percent:
            self._down_since = None
            self._journal_upto = self._memory[-1][0] if self._memory else self._journal_upto
            self._memory, self._memory_rows = deque(), 0  # batches might wait there for days
        if after_id is not None:
            if self._audit is not None and percent >= WHOLE:
                self._audit.begin(after_id)
            self._send_again(after_id, "its share of the instruments has grown", missing=True)

    def _send_rest(self) -> None:
        """Send the batches in memory; if the backlog reaches into the journal, leave all of it to the next start."""
        self._take_share()
        self._go_back()
        while self._down_since is None and self._open and self._journal_upto <= self._cursor and self._memory:
            try:
                self._deliver(self._next_entries())
            except (ServiceUnavailable, ConfigError) as error:
                self._failed(error)

    def _next_entries(self) -> list[Entry]:
        """Return the oldest batches that the sink does not have, from the journal or from memory.

        After a failure return fewer, so that a slow sink can answer in time.
        """
        wanted = self._options.catch_up_rows if self._down_since is None else self._options.flush_rows
        entries: list[Entry] = []
        while self._journal_upto > self._cursor and not entries:
            upto = self._journal_upto
            found = self._journal.read_after(self._cursor, wanted)
            self._journal_refuses = False
            entries = [entry for entry in found if entry[0] <= upto]
            if entries and (entries[-1][0] < upto or self._journal_upto != upto):
                return entries  # memory does not begin right after them
            if not entries and self._journal_upto == upto:
                self._journal_upto = self._cursor  # the journal has no more
        rows = sum(len(batch) for _, batch in entries)
        for entry in self._memory:
            rows += len(entry[1])
            if entries and rows > wanted:
                break
            entries.append(entry)
        return entries

    def _deliver(self, entries: Sequence[Entry]) -> None:
        """Send these batches as one, quarantine the rows that the sink rejects, and record the acknowledgement."""
        batch, sent = self._thread.apply(self._joined, (entries,))
        if len(batch):
            self._write(batch, sent, entries[-1][0])
        self._acknowledge(entries[-1][0], sum(len(entry) for _, entry in entries))
        self._succeeded()

    def _write(self, batch: TradeBatch, sent: int, last_id: int) -> None:
        """Store trades of batches up to `last_id` in the sink; the first `sent` rows were sent before."""
        started = self._clock.monotonic()
        refused = store_all(lambda part: self._thread.apply(self._sink.write, (part, self._catalogue)), batch)
        self._stats.add("sink_write_seconds_total", self._clock.monotonic() - started, sink=self._name)
        if refused:
            self._quarantine(batch, refused)
        self._filled = True
        self._stats.add("sink_rows_total", len(batch) - len(refused), sink=self._name)
        self._stats.add("sink_writes_total", sink=self._name)
        if self._audit is not None and self._share.percent >= WHOLE:
            minutes = self._thread.apply(taken_minutes, (batch, sent, [row for row, _ in refused], self._audit.from_ns()))
            self._audit.add(minutes, last_id)

    def _joined(self, entries: Sequence[Entry]) -> tuple[TradeBatch, int]:
        """Return the trades of the sink's share in one batch, and how many of its first rows were sent before.

        Runs in the sink's thread.
        """
        upto = self._audit.counted_upto if self._audit is not None else 0
        sent = sum(len(batch) for number, batch in entries if number <= upto)
        return self._share.of(TradeBatch.concat([batch for _, batch in entries])), sent

    def _acknowledge(self, batch_id: int, rows: int) -> None:
        now = self._clock.monotonic()
        self._cursor = batch_id
        self._answers.record(batch_id, now)
        safe_id = self._answers.confirm(now, (self._keeping or Keeping()).at_risk_s)
        self._journal.watermarks.acknowledge(self._name, batch_id, safe_id)
        while self._memory and self._memory[0][0] <= batch_id:
            self._memory_rows -= len(self._memory.popleft()[1])
        if not self._memory and not self._stopping.is_set():
            self._arrived.clear()
        if self._memory_rows < self._options.flush_rows and not self._stopping.is_set():
            self._full.clear()
        self._settled_rows += rows
        if not self._memory and self._journal_upto <= batch_id:  # nothing waits, so any counting error ends here
            self._left_over = self._offered_rows = self._settled_rows = 0
        self._stats.set("sink_lag_rows", self.lag_rows, sink=self._name)

    def _quarantine(self, batch: TradeBatch, refused: Sequence[tuple[int, str]]) -> None:
        self._stats.add("sink_refused_total", len(refused), sink=self._name)
        log.warning("sink rejected trades, they are quarantined sink=%s rejected=%d of=%d reason=%r", self._name, len(refused),
                    len(batch), refused[0][1])
        self._record(Records(quarantine=quarantined(self._name, batch, refused, self._catalogue, self._clock.now_ns())))

    def _failed(self, error: ServiceUnavailable | ConfigError) -> None:
        self._open = False
        if self._down_since is None:
            self._down_since = self._clock.monotonic()
            log.warning("sink down, trades stay in the journal sink=%s state=down backlog=%d reason=%r", self._name,
                        self.lag_rows, one_line("; ".join(filter(None, (error.message, error.hint))), 500))
        self._stats.set("sink_up", 0, sink=self._name)
        self._stats.set("sink_lag_rows", self.lag_rows, sink=self._name)

    def _succeeded(self) -> None:
        self._backoff.reset()
        self._stats.set("sink_up", 1, sink=self._name)
        if self._down_since is not None:
            log.warning("sink up again sink=%s state=up after_s=%.1f backlog=%d", self._name,
                        self._clock.monotonic() - self._down_since, self.lag_rows)
            self._down_since = None

    def _compare_keeping(self, keeping: Keeping) -> None:
        """Compare the sink's report with its last one; go back if the sink may have lost trades."""
        before, self._keeping = self._keeping, keeping
        if self._audit is not None:
            self._audit.keeps_s = keeping.keeps_s
        away_s = 0.0 if self._down_since is None else self._clock.monotonic() - self._down_since
        if keeping.empty and self._filled:
            self._filled = False
            self._send_again(0, "it is empty now", missing=True)
        elif before and (keeping.run != before.run or (not keeping.run and away_s >= AWAY_S)):
            self._send_again(self._answers.safe, "its server was restarted, or one of its tables was replaced")

    def _send_again(self, batch_id: int, reason: str, missing: bool = False) -> None:
        """Queue everything after this batch to be sent again first, on a new connection."""
        if self._back_to is None or batch_id < self._back_to[0]:
            self._back_to = batch_id, reason
        if missing:
            self._refill_upto = max(self._refill_upto, self._cursor)
        self._open = False  # the connection may have cached a dropped table
        self._wake()

    def _go_back(self) -> None:
        """Go back to the batch of the last `_send_again`. Call it only between two deliveries."""
        if self._back_to is None:
            return
        (batch_id, reason), self._back_to = self._back_to, None
        again = self._journal.trades_between(batch_id, self._cursor)
        if batch_id >= self._cursor:
            return
        log.warning("sending trades again sink=%s trades=%d reason=%r", self._name, again, reason)
        self._stats.add("sink_sent_again_total", again, sink=self._name)
        if self._journal_upto != NEVER_READ:
            self._journal_upto = max(self._journal_upto, self._cursor)
        self._left_over = (self._left_over or 0) + again
        self._cursor = batch_id
        self._answers.go_back(batch_id)
        self._journal.watermarks.go_back(self._name, batch_id)

    def _watch_rows(self) -> None:
        """Compare the sink's row counts with the journal's periodically."""
        gevent.sleep(self._audit_s[0])
        while (audit := self._audit) is not None:
            if self._share.percent >= WHOLE:  # the journal counts every instrument
                guarded(partial(self._compare_rows, audit), self._watch.failed)
            gevent.sleep(self._audit_s[1])

    def _compare_rows(self, audit: Audit) -> None:
        audit.count_earlier_runs()
        try:
            loss = audit.compare() if self.state == "up" and self._back_to is None else None
        except PumpWatchError as error:
            log.debug("sink cannot be counted now sink=%s reason=%s", self._name, error.message)
        else:
            if loss is not None and self.state == "up":
                self._send_again(loss.after_id, f"about {loss.trades:,} rows are missing", missing=True)
