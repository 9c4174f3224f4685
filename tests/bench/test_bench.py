"""The benchmark's own arithmetic: what it says of others must be right."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from gevent.monkey import get_original

from pumpwatch.config import Config
from pumpwatch.model import Instrument
from pumpwatch.plugins import load_plugins
from pumpwatch.sim.dialect import Dialect
from pumpwatch.sim.ground_truth import RECORD, SENT, Truth
from tests.bench import triggers
from tests.bench.archives import SHARES, measure, watched
from tests.bench.checks import CLUMP_NS, together
from tests.bench.collectors import Sample
from tests.bench.loads import FINE_STEP, highest, percentile
from tests.bench.parsing import form_of, made, parser_of, read
from tests.bench.processes import BenchError, Child, Usage, await_that, usage
from tests.bench.report import judge
from tests.bench.telling import measure as measure_telling
from tests.bench.venues import compare, placed
from tests.bench.windows import durable_p99, typical_p99

BURN = """
import sys, threading, time
def burn():
    began = time.thread_time()
    while time.thread_time() - began < 0.25:
        pass
threads = [threading.Thread(target=burn) for _ in range(2)]
for one in threads: one.start()
for one in threads: one.join()
block = bytearray(64 << 20)
block[::4096] = b"x" * len(block[::4096])
print(time.process_time(), flush=True)
sys.stdin.read()
"""


def test_cpu_of_all_threads_and_memory_are_counted():
    with subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        own = float(child.stdout.readline())
        seen = usage(child.pid)
        assert child.stdin is not None
        child.stdin.close()
    assert own >= 0.5
    assert seen.cpu_s == pytest.approx(own, abs=0.05)
    assert 64 << 20 < seen.rss_bytes <= seen.peak_rss_bytes < 256 << 20


def test_a_child_that_ended_is_named_with_its_last_words(tmp_path):
    child = Child("runner", [sys.executable, "-c", "raise SystemExit('no such venue')"], tmp_path, {})

    def last_words() -> str:
        try:
            child.usage()
        except BenchError as error:
            return str(error)
        return ""

    assert "runner ended with 1:\nno such venue" in await_that("the child to end", last_words, 30, 0.02)
    assert child.end() == 1


def test_trades_missing_doubled_and_never_sent_are_told_apart():
    sent = np.array([1, 2, 3, 4, 4])  # 4 went to two connections
    assert compare(sent, np.array([1, 2, 2, 4, 9])) == (1, 1, 1)
    assert compare(sent, np.array([4, 3, 2, 1])) == (0, 0, 0)


def test_a_ratio_is_of_medians_and_judged_by_must_and_aim():
    def results(ours: list[float]) -> dict[str, object]:
        runs = [{"collector": "pumpwatch+questdb", "cpu_us_per_trade": one} for one in ours]
        peers = [{"collector": "cryptofeed+questdb", "cpu_us_per_trade": one} for one in (90.0, 100.0, 500.0)]
        return {"steady-50000": {"runs": [*runs, *peers]}}

    assert [(line["measured"], line["met"]) for line in judge(results([16.0, 12.0, 80.0]))] == [(0.16, "aim")]
    assert [line["met"] for line in judge(results([24.0]))] == ["must"]
    assert [line["met"] for line in judge(results([26.0]))] == ["missed"]
    assert judge({}) == []


def test_the_frames_that_are_timed_are_read_whole_on_every_venue_one_and_ten_at_once():
    plugins = load_plugins(Config())
    dialects = [one for one in plugins.dialects if isinstance(one, Dialect)]
    assert len(dialects) == 12
    for dialect in dialects:
        venue = plugins.venue(dialect.name)
        frames, parser = made(dialect, form_of(venue, dialect), 40), parser_of(venue, dialect)
        assert len(frames.single) == 40 and len(frames.together) in (0, 4)
        for some in filter(None, (frames.single, frames.together)):
            assert [read(parser, some)[0], parser.quarantine] == [40, []], dialect.name


def test_the_collector_is_told_how_many_symbols_a_connection_has_and_makes_about_as_many_connections_as_the_load_says():
    venue = load_plugins(Config()).venue("binance.spot")
    listed = [Instrument(symbol=f"S{number}USDT", base=f"S{number}", quote="USDT", volume=float(number)) for number in range(450)]
    for connections in (6, 28):
        per_connection, roster = placed(venue, listed, connections)
        assert connections - 1 <= len(roster.places) <= connections and len(roster) == 450
        assert per_connection >= max(len(place.symbols) for place in roster.places)


def test_a_percentile_is_of_what_was_counted_between_two_samples():
    assert percentile({3: 98, 90: 1, 700: 1}, 0.5) == 3
    assert percentile({3: 98, 90: 1, 700: 1}, 0.99) == 90
    assert percentile({3: 0, 90: 1}, 0.5) == 90
    assert percentile({}, 0.5) is None


def searched(limit: float, *, disturbed: set[int] = frozenset(), most: float = 250_000) -> tuple[float, int]:
    """Return what the search finds where `limit` is sustained, and its tries; at the `disturbed` ones nothing is."""
    tries = []

    def sustains(rate: float) -> bool:
        tries.append(rate)
        return rate <= limit and len(tries) not in disturbed

    return highest(sustains, most), len(tries)


@pytest.mark.parametrize("limit", [1_500, 9_000, 20_000, 112_000, 240_000])
def test_the_highest_rate_is_found_within_a_step(limit: float):
    found, tries = searched(limit)
    assert limit / FINE_STEP <= found <= limit
    assert tries <= 14


def test_a_rate_that_has_no_limit_is_the_most_that_is_offered():
    assert searched(1e9)[0] == 250_000


@pytest.mark.parametrize("disturbed", [{1}, {1, 2}, {4}, {4, 5}, {9, 10}])
def test_a_machine_that_was_busy_for_a_while_does_not_decide_the_highest_rate(disturbed: set[int]):
    assert 112_000 / FINE_STEP <= searched(112_000, disturbed=disturbed)[0] <= 112_000


def test_a_collector_that_sustains_nothing_is_named_and_not_given_a_rate():
    with pytest.raises(BenchError, match="not even 1,000"):
        searched(100)


def test_trades_that_leave_within_a_clump_count_together():
    def clumped(*sent_at: int) -> float:
        records = np.zeros(len(sent_at), RECORD)
        records["sent_at"], records["state"] = sent_at, SENT
        return together(Truth(records, [], [], []), 0, 10**12)

    far = 10 * CLUMP_NS
    assert clumped(far, 2 * far, 3 * far) == 1.0
    assert clumped(far, far + CLUMP_NS // 2, far + CLUMP_NS) == 3.0
    assert clumped(3 * far, far, far) == (2 * 2 + 1) / 3
    assert clumped() == 0.0


def test_the_longest_block_of_the_hub_is_found():
    assert watched(lambda: get_original("time", "sleep")(0.05)) >= 50


def test_the_archive_that_is_timed_has_all_its_trades(tmp_path):
    figures = measure(tmp_path, 2_000, 1)
    assert figures["trades"] == pytest.approx(2_000, abs=len(SHARES))
    assert list(tmp_path.iterdir()) == []


def test_the_listings_that_are_timed_reach_every_channel_but_the_one_that_hangs(tmp_path):
    figures = measure_telling(tmp_path, 1, 2)
    assert figures["listings"] == 2 and figures["tell_us"] > 0 and figures["took_s"] > figures["store_ms"] / 1e3 > 0
    assert list(tmp_path.iterdir()) == []


def test_notices_that_are_timed_have_a_window_each_and_the_past_is_that_of_the_coin(tmp_path):
    figures = triggers.measure(tmp_path, 2, 20_000)
    assert figures["poll_ms"] > 0 < figures["push_ms"]
    assert figures["in_memory"] >= 20_000
    assert figures["past_rows"] == figures["past_window_rows"] > 0
    assert figures["past_busiest_rows"] > figures["past_rows"]


def test_the_p99_between_two_samples_is_that_of_the_trades_between_them():
    def sample(durable_ms: dict[int, int]) -> Sample:
        return Sample(0, 0, 0, Usage(0.0, 0.0, 0, 0), durable_ms)

    assert durable_p99(sample({3: 100, 900: 50}), sample({3: 200, 50: 3, 900: 50})) == 50
    assert durable_p99(sample({3: 1}), sample({3: 1})) is None
    assert typical_p99([sample({}), sample({5: 1}), sample({5: 1, 7: 9}), sample({5: 1, 7: 9, 900: 2})]) == 7
    assert typical_p99([sample({}), sample({})]) == 0
