"""verify, backup and restore, on a real journal."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import FakeClock
from pumpwatch.errors import ServiceUnavailable, StorageError, UsageError
from pumpwatch.hookspecs import Keeping, Sink, WriteResult
from pumpwatch.model import Gap, TradeBatch
from pumpwatch.ops.backup import backup, restore
from pumpwatch.ops.verify import Checked, verify
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from tests.conftest import Cli
from tests.trades import batch_of, catalogue_of

GAP = Gap(exchange="binance", market_type="spot", symbol="C0USDT", from_ns=1, to_ns=2, first_id=1, last_id=3, reason="test")


class Shelf(Sink):
    """A sink that reads back what it was given; `lost` rows of it are gone."""

    def __init__(self, kept: TradeBatch, lost: int = 0, away: bool = False) -> None:
        self._kept, self._away = kept.take(slice(lost, None)), away

    def read(self, names: Sequence[tuple[str, str, str]], start_ns: int, end_ns: int, catalogue: Catalogue) -> TradeBatch:
        if self._away:
            raise ServiceUnavailable("the shelf is away")
        inside = (self._kept.timestamp >= start_ns) & (self._kept.timestamp < end_ns)
        ids = [catalogue.ids_of(name[:2])[name[2]] for name in names]
        return self._kept.take(inside & np.isin(self._kept.instrument, ids))

    def write(self, batch: TradeBatch, catalogue: Catalogue) -> WriteResult:
        raise AssertionError("nothing writes here")


class SlowShelf(Shelf):
    """One that shows a part of what it has a moment later."""

    asked = 0

    def read(self, names: Sequence[tuple[str, str, str]], start_ns: int, end_ns: int, catalogue: Catalogue) -> TradeBatch:
        self.asked += 1
        found = super().read(names, start_ns, end_ns, catalogue)
        return found.take(slice(5, None)) if self.asked == 1 else found


class ForgettingShelf(Shelf):
    """One that deletes what is older than a day."""

    def keeping(self) -> Keeping:
        return Keeping(keeps_s=86_400.0)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A data folder with two runs of 5,000 trades each, half of the batches acknowledged by the shelf."""
    folder, clock = tmp_path / "data", FakeClock()
    for run in range(2):
        journal = Journal(folder, catalogue_of(), clock, Stats())
        journal.open()
        for number in range(5):
            last = journal.commit(batch_of(1000, first_id=1 + 5000 * run + 1000 * number, start_ns=clock.now_ns()))
            clock.advance(1)
        journal.record(Records(gaps=[GAP]))
        journal.acknowledge("shelf", last)
        journal.close()
    return folder


def everything(folder: Path) -> TradeBatch:
    journal = Journal(folder, catalogue_of(), FakeClock(), Stats())
    journal.open()
    batches = [batch for _, batch in journal.read_after(0, 100_000)]
    journal.close()
    return TradeBatch.concat(batches)


def damage(folder: Path) -> None:
    """Flip bytes in the middle of the first segment."""
    file = min((folder / "journal").glob("*.sqlite"))
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle:middle + 2000] = bytes(2000)
    file.write_bytes(content)


def of(checked: list[Checked], where: str) -> list[Checked]:
    return [one for one in checked if one.where == where]


def test_a_good_journal_is_good_to_the_trade(stored: Path) -> None:
    checked = list(verify(stored))
    assert len(checked) == 2
    assert all(one.good for one in checked)
    assert sum(one.found for one in checked) == 10_000


def test_damage_is_found_and_counted(stored: Path) -> None:
    damage(stored)
    checked = list(verify(stored))
    assert not checked[0].good
    assert checked[0].problems
    assert checked[1].good


def test_a_sink_that_has_everything_is_good(stored: Path) -> None:
    checked = list(verify(stored, {"shelf": Shelf(everything(stored))}))
    assert all(one.good for one in checked)
    assert sum(one.found for one in of(checked, "shelf")) == 10_000


def test_a_sink_that_lost_three_trades_is_told_so(stored: Path) -> None:
    checked = of(list(verify(stored, {"shelf": Shelf(everything(stored), lost=3)})), "shelf")
    assert not all(one.good for one in checked)
    assert sum(one.expected - one.found for one in checked) == 3
    assert "3 trades are not there" in checked[0].problems[0]


def test_a_sink_that_does_not_answer_is_a_problem_and_not_a_crash(stored: Path) -> None:
    checked = of(list(verify(stored, {"shelf": Shelf(TradeBatch.empty(), away=True)})), "shelf")
    assert all(one.problems == ["the shelf is away"] for one in checked)


def test_what_a_sink_shows_a_little_later_is_not_missed(tmp_path: Path) -> None:
    journal = Journal(tmp_path, catalogue_of(), FakeClock(), Stats())
    journal.open()
    fresh = batch_of(1000)
    journal.acknowledge("shelf", journal.commit(fresh))
    journal.close()
    assert all(one.good for one in verify(tmp_path, {"shelf": SlowShelf(fresh)}))


def test_what_a_sink_deletes_at_its_age_is_not_missed(tmp_path: Path) -> None:
    clock = FakeClock(time.time_ns())
    journal = Journal(tmp_path, catalogue_of(), clock, Stats())
    journal.open()
    journal.commit(batch_of(1000, start_ns=clock.now_ns() - 100_000 * 10**9))
    kept = batch_of(1000, first_id=5000, start_ns=clock.now_ns() - 10 * 10**9)
    journal.acknowledge("shelf", journal.commit(kept))
    journal.close()
    checked = of(list(verify(tmp_path, {"shelf": ForgettingShelf(kept)})), "shelf")
    assert [(one.expected, one.found, one.problems) for one in checked] == [(1000, 1000, [])]
    checked = of(list(verify(tmp_path, {"shelf": Shelf(kept)})), "shelf")
    assert [(one.expected, one.found) for one in checked] == [(2000, 1000)]


def test_a_stray_trade_does_not_have_all_between_it_and_the_rest_fetched(tmp_path: Path) -> None:
    asked: list[int] = []

    class Watched(Shelf):
        def read(self, names: Sequence[tuple[str, str, str]], start_ns: int, end_ns: int, catalogue: Catalogue) -> TradeBatch:
            asked.append(end_ns - start_ns)
            return super().read(names, start_ns, end_ns, catalogue)

    journal = Journal(tmp_path, catalogue_of(), FakeClock(), Stats())
    journal.open()
    batch = TradeBatch.concat([batch_of(1, first_id=9, start_ns=10**18), batch_of(1000, first_id=10, start_ns=2 * 10**18)])
    journal.acknowledge("shelf", journal.commit(batch))
    journal.close()
    assert all(one.good for one in verify(tmp_path, {"shelf": Watched(batch)}))
    assert max(asked) < 10**9


def test_what_a_sink_never_acknowledged_is_not_missed(stored: Path) -> None:
    checked = of(list(verify(stored, {"newcomer": Shelf(TradeBatch.empty())})), "newcomer")
    assert all(one.good for one in checked)


def test_a_folder_without_a_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no journal"):
        list(verify(tmp_path))


def test_a_backup_restored_is_the_same_to_the_trade_and_the_gap(stored: Path, tmp_path: Path) -> None:
    rows = backup(stored, tmp_path / "b.tar")
    assert restore(tmp_path / "b.tar", tmp_path / "again") == rows
    for one, other in zip(everything(stored).columns(), everything(tmp_path / "again").columns(), strict=True):
        assert np.array_equal(one, other)  # type: ignore[arg-type]
    journal = Journal(tmp_path / "again", catalogue_of(), FakeClock(), Stats())
    journal.open()
    assert [gap.reason for _, gap in journal.ledger.gaps()] == ["test"]
    journal.close()


def test_a_backup_beside_a_running_collector_holds_what_was_committed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "data", catalogue_of(), FakeClock(), Stats())
    journal.open()
    journal.commit(batch_of(1000))
    backup(tmp_path / "data", tmp_path / "b.tar")
    journal.commit(batch_of(1000, first_id=1001))
    journal.close()
    restore(tmp_path / "b.tar", tmp_path / "again")
    assert len(everything(tmp_path / "again")) == 1000


def test_a_restore_leaves_a_folder_in_use_alone(stored: Path, tmp_path: Path) -> None:
    backup(stored, tmp_path / "b.tar")
    before = {path: path.read_bytes() for path in stored.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="already"):
        restore(tmp_path / "b.tar", stored)
    assert {path: path.read_bytes() for path in stored.rglob("*") if path.is_file()} == before


def test_a_backup_leaves_an_existing_file_alone(stored: Path, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_text("precious")
    with pytest.raises(UsageError, match="already"):
        backup(stored, tmp_path / "b.tar")
    assert (tmp_path / "b.tar").read_text() == "precious"


def test_a_damaged_backup_restores_nothing(stored: Path, tmp_path: Path) -> None:
    backup(stored, tmp_path / "b.tar")
    content = bytearray((tmp_path / "b.tar").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "b.tar").write_bytes(content)
    with pytest.raises(StorageError, match="damaged"):
        restore(tmp_path / "b.tar", tmp_path / "again")
    assert list((tmp_path / "again").iterdir()) == []


@pytest.mark.parametrize("name", ["../escaped.sqlite", "/tmp/escaped.sqlite", "journal/../../escaped.sqlite", "other"])
def test_a_tar_that_names_other_places_is_refused(tmp_path: Path, name: str) -> None:
    manifest = json.dumps({"files": [{"name": name, "bytes": 1, "sha256": ""}]}).encode()
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        for member, content in (("manifest.json", manifest), (name, b"x")):
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(UsageError, match="no backup"):
        restore(tmp_path / "b.tar", tmp_path / "again")


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_text("no tar at all" * 100)
    with pytest.raises(UsageError, match="no backup"):
        restore(tmp_path / "b.tar", tmp_path / "again")


def test_the_commands_do_it(stored: Path, tmp_path: Path, cli: Cli) -> None:
    there, again = {"PUMPWATCH_STORE__DIR": str(stored)}, {"PUMPWATCH_STORE__DIR": str(tmp_path / "again")}
    assert cli("verify", env=there).returncode == 0
    assert cli("backup", "b.tar", env=there).returncode == 0
    assert cli("restore", "b.tar", env=again).returncode == 0
    assert cli("restore", "b.tar", env=again).returncode == 2
    rows = [json.loads(line) for line in cli("verify", "--json", env=again).stdout.splitlines()]
    assert sum(row["found"] for row in rows) == 10_000
    damage(tmp_path / "again")
    assert cli("verify", env=again).returncode == 1
