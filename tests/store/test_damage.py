"""Every stored trade is read back, or lies inside a recorded gap, whatever becomes of the files."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.model import Gap, Instrument, TradeBatch
from pumpwatch.ops.doctor import examine
from pumpwatch.ops.verify import verify
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal, JournalReader
from pumpwatch.store.manifest import FILE
from pumpwatch.store.query import find
from pumpwatch.store.scrub import Scrub
from pumpwatch.store.soundness import Soundness
from tests.trades import VENUES, batch_of, catalogue_of

START_NS = 1_790_000_000 * NS_PER_S
HOURS, COMMITS, ROWS = 4, 15, 60
NAMES = [(*venue, f"C{number}USDT") for number in range(4) for venue in VENUES]
Truth = dict[tuple[int, str, str, str], int]  # trade id, exchange, market, symbol -> timestamp


def make(folder: Path, clock: FakeClock) -> Truth:
    """Store four hours, a segment each; return every trade that was stored."""
    journal = Journal(folder, catalogue_of(), clock, Stats())
    journal.open()
    catalogue, truth = catalogue_of(), {}
    for number in range(HOURS * COMMITS):
        batch = batch_of(ROWS, first_id=number * ROWS, start_ns=clock.now_ns(), seed=number)
        journal.commit(batch)
        truth.update(as_truth(batch, catalogue))
        clock.advance(3600 / COMMITS)
    journal.close()
    return truth


def as_truth(batch: TradeBatch, catalogue: Catalogue) -> Truth:
    return {(number, *name): at for number, name, at in zip(
        batch.trade_id.tolist(), catalogue.names(batch.instrument), batch.timestamp.tolist(), strict=True)}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth, FakeClock]:
    folder, clock = tmp_path_factory.mktemp("kept"), FakeClock(START_NS)
    truth = make(folder, clock)
    return folder, truth, clock


@pytest.fixture
def folder(kept: tuple[Path, Truth, FakeClock], tmp_path: Path) -> Path:
    shutil.copytree(kept[0], tmp_path / "data")
    return tmp_path / "data"


def files(folder: Path) -> list[Path]:
    return sorted((folder / "journal").glob("*.sqlite"))


class Opened:
    """A journal that was started on a folder and scrubbed once."""

    def __init__(self, folder: Path, clock: FakeClock, scrub: bool = True) -> None:
        self.catalogue = Catalogue()
        self.journal = Journal(folder, self.catalogue, clock, Stats())
        self.recovery = self.journal.open()
        if scrub:
            Scrub(self.journal, FakeClock(), Stats()).once()

    def read(self) -> Truth:
        return {key: at for _, batch in self.journal.read_after(0, 10**9)
                for key, at in as_truth(batch, self.catalogue).items()}

    def found(self) -> Truth:
        return as_truth(self.journal.query(NAMES, 0, 2**62), self.catalogue)

    def gaps(self) -> list[Gap]:
        return [gap for _, gap in self.journal.ledger.gaps()]


def unaccounted(truth: Truth, there: Truth, gaps: list[Gap]) -> list[object]:
    """Return the trades that are neither there nor in a gap, and those that never were."""
    lost = [(key, at) for key, at in truth.items() if key not in there and not any(
        (gap.exchange, gap.market_type) == key[1:3] and gap.touches(key[3]) and gap.from_ns <= at < gap.to_ns for gap in gaps)]
    return [*lost, *(key for key, at in there.items() if truth.get(key) != at)]


def flip(path: Path, draw: random.Random, count: int) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(count):
        content[draw.randrange(len(content))] ^= draw.randrange(1, 256)
    path.write_bytes(content)


def overwrite(path: Path, draw: random.Random, count: int) -> None:
    content = bytearray(path.read_bytes())
    at = draw.randrange(max(1, len(content) - count))
    content[at:at + count] = draw.randbytes(min(count, len(content) - at))
    path.write_bytes(content)


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bytes_anywhere_lose_nothing_in_silence(kept: tuple[Path, Truth, FakeClock], folder: Path, seed: int) -> None:
    _, truth, clock = kept
    draw = random.Random(seed)
    harm = draw.choice((flip, overwrite))
    for path in draw.sample(files(folder), draw.choice((1, 2))):
        harm(path, draw, draw.choice((1, 20, 4096)))
    opened = Opened(folder, clock)
    read, found, gaps = opened.read(), opened.found(), opened.gaps()
    assert unaccounted(truth, read, gaps) == []
    assert unaccounted(truth, found, gaps) == []
    reader_catalogue = Catalogue()
    outside = as_truth(JournalReader(folder, reader_catalogue).query(NAMES, 0, 2**62), reader_catalogue)
    assert unaccounted(truth, outside, gaps) == []
    if len(found) < len(truth) or len(read) < len(truth):
        assert gaps
        assert not all(one.good for one in verify(folder))
        assert any(one.state == "fail" and one.name == "journal" for one in examine(folder))
    opened.journal.close()
    again = Opened(folder, clock)
    assert again.gaps() == gaps, "each damage is recorded once"
    assert again.recovery.unreadable or not gaps, "it is still named"
    again.journal.close()


@pytest.mark.parametrize("which", [0, 1, 2, 3])
@pytest.mark.parametrize("listed", [True, False])
def test_a_file_that_was_removed_is_a_gap_of_its_time(kept: tuple[Path, Truth, FakeClock], folder: Path, which: int,
                                                      listed: bool) -> None:
    _, truth, clock = kept
    gone = files(folder)[which]
    gone.unlink()
    if not listed:
        (folder / FILE).unlink()
        if which in (0, 3):
            return  # nothing can tell that it was there
    assert not all(one.good for one in verify(folder))
    assert any(one.state == "fail" and "batches" in one.detail for one in examine(folder))
    opened = Opened(folder, clock)
    gaps = opened.gaps()
    assert unaccounted(truth, opened.read(), gaps) == []
    assert {(gap.exchange, gap.market_type) for gap in gaps} == set(VENUES)
    hour_ns = 3600 * NS_PER_S
    for gap in gaps:
        assert gap.from_ns >= START_NS + which * hour_ns - hour_ns
        assert gap.to_ns <= START_NS + (which + 1) * hour_ns + hour_ns
    last = opened.journal.commit(batch_of(1))
    assert last > HOURS * COMMITS, "ids are not used again"
    opened.journal.close()
    assert any(one.state == "fail" for one in examine(folder)) or not listed
    again = Opened(folder, clock)
    assert again.gaps() == gaps
    again.journal.close()


def test_what_expired_is_no_gap(kept: tuple[Path, Truth, FakeClock], folder: Path) -> None:
    _, _, clock = kept
    opened = Opened(folder, clock)
    opened.journal.commit(batch_of(1, start_ns=clock.now_ns()))
    assert len(opened.journal.expire(clock.now_ns() - 3600 * NS_PER_S, 10**12, [])) >= 2
    opened.journal.close()
    again = Opened(folder, clock)
    assert again.gaps() == []
    assert again.recovery.unreadable == []
    again.journal.close()
    assert all(one.good for one in verify(folder))


@pytest.mark.parametrize("content", [b"", b"garbage", b'{"checksum": 1, "content": {}}'])
def test_a_damaged_list_is_made_anew(kept: tuple[Path, Truth, FakeClock], folder: Path, content: bytes) -> None:
    _, truth, clock = kept
    (folder / FILE).write_bytes(content)
    opened = Opened(folder, clock)
    assert opened.read() == truth
    assert opened.gaps() == []
    assert any("list of segments" in note for note in opened.recovery.unreadable)
    opened.journal.close()
    again = Opened(folder, clock)
    assert again.recovery.unreadable == []
    again.journal.close()


def test_a_file_that_vanishes_while_the_journal_runs_is_a_gap_at_the_next_look(
        kept: tuple[Path, Truth, FakeClock], folder: Path) -> None:
    _, truth, clock = kept
    opened = Opened(folder, clock)
    files(folder)[1].unlink()
    Scrub(opened.journal, FakeClock(), Stats()).once()
    gaps = opened.gaps()
    assert unaccounted(truth, opened.read(), gaps) == []
    assert len(gaps) == len(VENUES)
    opened.journal.close()
    again = Opened(folder, clock)
    assert again.gaps() == gaps
    again.journal.close()


def damage_index(path: Path) -> None:
    """Move the index's entries out of a query's way; the table stays as it is."""
    content = bytearray(path.read_bytes())
    with sqlite3.connect(path) as connection:
        first_ns, last_ns = connection.execute("SELECT first_timestamp, last_timestamp FROM batches ORDER BY id").fetchone()
    entry = last_ns.to_bytes(8, "big") + first_ns.to_bytes(8, "big")
    at = content.index(entry)
    content[at + 1] ^= 0x10
    path.write_bytes(content)


def test_a_damaged_index_hides_no_trade_once_it_was_found(kept: tuple[Path, Truth, FakeClock], folder: Path) -> None:
    _, truth, clock = kept
    damage_index(files(folder)[1])
    assert not all(one.good for one in verify(folder))
    opened = Opened(folder, clock)
    assert opened.found() == truth
    assert opened.gaps() == []
    opened.journal.close()
    assert as_truth(JournalReader(folder, catalogue := Catalogue()).query(NAMES, 0, 2**62), catalogue) == truth
    again = Opened(folder, clock, scrub=False)
    assert again.found() == truth
    again.journal.close()


def test_a_look_at_a_sound_file_finds_nothing_in_steps_of_any_length(kept: tuple[Path, Truth, FakeClock], folder: Path) -> None:
    for segment in JournalReader(folder, Catalogue()).segments():
        look = Soundness(segment)
        steps = 1
        while not look.step(0):
            steps += 1
        assert look.good
        assert steps == COMMITS or segment.trades < COMMITS * ROWS


@pytest.mark.parametrize("how", [lambda journal, clock: journal.close(), lambda journal, clock: journal._release(),
                                 lambda journal, clock: (clock.advance(3600), journal.commit(batch_of(1, instruments=1)))])
def test_a_coin_is_known_before_anything_of_it_is_read(tmp_path: Path, how: Callable[[Journal, FakeClock], object]) -> None:
    clock, catalogue = FakeClock(START_NS), Catalogue()
    catalogue.add(("binance", "spot"), Instrument(symbol="OTHERUSDT", base="OTHER", quote="USDT"))
    number = catalogue.add(("gate", "futures"), Instrument(symbol="1000COIN_USDT", base="1000COIN", quote="USDT",
                                                           multiplier=1000))
    journal = Journal(tmp_path, catalogue, clock, Stats())
    journal.open()
    batch = batch_of(10, instruments=1, start_ns=clock.now_ns())
    batch.instrument[:] = number
    journal.commit(batch)
    how(journal, clock)
    if journal._files is not None:
        journal.close()
    fresh = Catalogue()
    journal = Journal(tmp_path, fresh, clock, Stats())
    journal.open()
    assert [fresh.names([one])[0] for one in fresh.matching("COIN")] == [("gate", "futures", "1000COIN_USDT")]
    result = find("COIN", 0, 2**62, catalogue=fresh, recent=None, journal_query=journal.query)
    assert result.batch.trade_id.tolist() == batch.trade_id.tolist()
    journal.close()


def test_a_clock_that_steps_to_and_fro_loses_no_trade_and_makes_few_files(tmp_path: Path) -> None:
    clock, draw = FakeClock(START_NS), random.Random(5)
    stored: list[int] = []
    for _ in range(3):
        journal = Journal(tmp_path, catalogue_of(), clock, Stats())
        journal.open()
        for _ in range(60):
            journal.commit(batch_of(5, first_id=len(stored), start_ns=clock.now_ns()))
            stored += range(len(stored), len(stored) + 5)
            clock.advance(5)
            clock.step(draw.choice((-90_000, -3600, 0, 0, 3600, 90_000)))
        assert [int(one) for _, batch in journal.read_after(0, 10**9) for one in sorted(batch.trade_id)] == stored
        journal._release()
    assert len(files(tmp_path)) <= 3 * 7, "one a minute, and one a start"


@pytest.mark.parametrize("looked_at", [False, True])
@pytest.mark.parametrize("replaced", [False, True])
def test_an_open_file_that_is_gone_is_written_no_further_and_only_what_it_held_is_a_gap(
        tmp_path: Path, looked_at: bool, replaced: bool) -> None:
    clock, truth, catalogue = FakeClock(START_NS), Truth(), catalogue_of()
    journal = Journal(tmp_path, catalogue, clock, Stats())
    journal.open()

    def commit(number: int) -> None:
        batch = batch_of(ROWS, first_id=number * ROWS, start_ns=clock.now_ns(), seed=number)
        journal.commit(batch)
        truth.update(as_truth(batch, catalogue))
        clock.advance(60)

    commit(0)
    for path in (tmp_path / "journal").iterdir():
        path.unlink()
    if replaced:
        path.with_name(path.name.partition("-wal")[0].partition("-shm")[0]).write_bytes(b"no journal")
    if looked_at:
        journal.query(NAMES, 0, 2**62)
    for number in range(1, 11):
        commit(number)
        journal.maintain()
    for _ in range(2):
        journal.close()
        clock.advance(5)
        again = Opened(tmp_path, clock, scrub=False)
        journal = again.journal
        there, gaps = again.read(), again.gaps()
        assert len(there) == 10 * ROWS
        assert unaccounted(truth, there, gaps) == []
        assert all(gap.to_ns <= START_NS + 60 * NS_PER_S for gap in gaps), "what was stored after it is in no gap"
    journal.close()
