"""A journal and a drain to QuestDB under a steady load, in a patched process of its own, for the tests of outages.

`python -m tests.store.drain_under_load ADDR PREFIX FOLDER RATE PATIENCE_MS` makes RATE trades a second until its stdin is
closed, waits until everything is sent, and prints one JSON object: trades made, what is left, the log, and the states of the
drain. It waits PATIENCE_MS for an answer of the server.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import logging  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402
from gevent.event import Event  # noqa: E402
from gevent.fileobject import FileObject  # noqa: E402
from gevent.threadpool import ThreadPool  # noqa: E402
from pumpwatch_plugins.sinks.questdb import QuestDBOptions, QuestDBSink  # noqa: E402

from pumpwatch.clock import Clock  # noqa: E402
from pumpwatch.config import DrainConfig  # noqa: E402
from pumpwatch.records import Records  # noqa: E402
from pumpwatch.stats import Stats  # noqa: E402
from pumpwatch.store.committer import Committer  # noqa: E402
from pumpwatch.store.drain import Drain  # noqa: E402
from pumpwatch.store.in_thread import in_thread  # noqa: E402
from pumpwatch.store.journal import Journal  # noqa: E402
from pumpwatch.store.recorder import Recorder  # noqa: E402
from tests.trades import batch_of, catalogue_of  # noqa: E402

TICK_S = 0.1
CATCH_UP_S = 90.0
OPTIONS = DrainConfig(flush_ms=400.0, flush_rows=250, catch_up_rows=250, memory_rows=500)


class Lines(logging.Handler):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def main(addr: str, prefix: str, folder: str, rate: int, patience_ms: int) -> None:
    lines = Lines()
    logging.getLogger("pumpwatch").addHandler(lines)
    logging.getLogger("pumpwatch").setLevel(logging.INFO)
    clock, stats, catalogue, thread = Clock(), Stats(), catalogue_of(50), ThreadPool(1)
    journal = Journal(Path(folder), catalogue, clock, stats)
    recovery = thread.apply(journal.open)
    sink = QuestDBSink(QuestDBOptions(addr=addr, table_prefix=prefix, candles=False, request_timeout_ms=patience_ms))
    drain = Watched("questdb", sink, in_thread(journal, thread), catalogue, stats, clock,
                    lambda records: lines.said.append(f"quarantined {records}"), OPTIONS, trouble_poll_s=0.3,
                    audit_s=(1.0, 2.0))
    committer = Committer(journal, thread, Recorder(journal.record, stats), catalogue, clock, stats, 10**7, drain.offer)
    running = gevent.spawn(drain.run)
    gevent.spawn(committer.run)
    closed = Event()
    gevent.spawn(_until_closed, closed)
    print("ready", flush=True)
    made, started, first_id = 0, clock.monotonic(), recovery.last_received_at_ns + 1
    while not closed.is_set():
        due = int((clock.monotonic() - started) * rate) - made
        if due > 0:
            committer.put(batch_of(due, first_id=first_id + made, instruments=100, step_ns=1_000, seed=made), Records())
            made += due
        gevent.sleep(TICK_S)
    with gevent.Timeout(CATCH_UP_S, None):
        while drain.lag_rows or committer.waiting_trades:
            assert not running.dead, lines.said
            gevent.sleep(0.02)
    left = drain.lag_rows
    drain.stop()
    thread.apply(journal.close)
    print(json.dumps({"made": made, "left": left, "log": lines.said,
                      "states": sorted(drain.states)}), flush=True)


class Watched(Drain):
    """Notes the state after each delivery: one that is looked at now and then may be over before."""

    states: set[str] = set()  # noqa: RUF012 there is one drain

    def _succeeded(self) -> None:
        super()._succeeded()
        self.states.add(self.state)


def _until_closed(closed: Event) -> None:
    FileObject(sys.stdin.buffer).read()
    closed.set()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
