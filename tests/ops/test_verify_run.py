"""Verifying a time: which symbols, until when, and with what evidence."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pumpwatch.config import Config, StoreConfig
from pumpwatch.errors import ServiceUnavailable, UsageError
from pumpwatch.model import IdKind
from pumpwatch.ops.minute_states import State
from pumpwatch.ops.verify_run import Selection, Verified, Wanted, facts_of, known_instruments, verify
from pumpwatch.plugins import load_plugins
from pumpwatch.store.minutes import MINUTE_NS
from tests.ops.minute_folder import START_NS, SYMBOLS, VENUE, MinuteFolder, catalogue
from tests.ops.shelves import WHOLE, AddingShelf


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Three minutes of two symbols, in the folder of a collector that has ended."""
    data = MinuteFolder(tmp_path / "data")
    data.watch(*SYMBOLS)
    data.store(WHOLE)
    return Config(store=StoreConfig(dir=str(tmp_path / "data")), symbols_file=str(tmp_path / "symbols.yaml"))


def verified(config: Config, end: int = 2, sinks: dict[str, AddingShelf] | None = None, **options: object) -> Verified:
    return verify(config, load_plugins(config), Wanted(START_NS, START_NS + end * MINUTE_NS, **options), sinks or {},
                  lambda what, done, total: None)


def test_the_minutes_of_a_time_are_judged(config: Config) -> None:
    found = verified(config)
    assert (found.start_ns, found.end_ns) == (START_NS, START_NS + 2 * MINUTE_NS)
    assert found.summary.venues[VENUE].minutes[State.COMPLETE] == 4 and not found.contradicted and found.days == []


def test_after_the_end_of_the_collector_nothing_is_complete(config: Config) -> None:
    minutes = verified(config, 5).summary.venues[VENUE].minutes
    assert (minutes[State.COMPLETE], minutes[State.GAP]) == (4, 6)


def test_of_a_collector_that_was_killed_the_last_two_minutes_are_not_believed(config: Config) -> None:
    MinuteFolder(Path(config.store.dir)).end(2**22 + 1)  # above the highest process id
    minutes = verified(config, 3).summary.venues[VENUE].minutes
    assert (minutes[State.COMPLETE], minutes[State.GAP]) == (0, 6)


def test_chosen_symbols_are_kept_with_their_runs(config: Config) -> None:
    found = verified(config, selection=Selection(symbols=frozenset({"BUSDT"})))
    assert found.days[0].timelines[VENUE].symbols == ["BUSDT"]
    coin = verified(config, selection=Selection(coins=("A",)))
    assert coin.days[0].timelines[VENUE].symbols == ["AUSDT"]
    assert verified(config, selection=Selection(exchange="other")).summary.venues == {}


def test_a_sink_is_compared_for_what_it_has_acknowledged(config: Config) -> None:
    (none,) = verified(config, sinks={"shelf": AddingShelf(WHOLE.take(slice(0, 10)))}).sinks
    assert (none.flaws, none.waiting, none.compared) == ([], 4, 0), "it has acknowledged nothing"


def test_candles_are_compared_with_the_venues_of_the_config_alone(config: Config) -> None:
    found = verified(config, candles=5)
    assert found.candles == [] and len(found.days) == 1, "no plugin offers the venue that is stored"


def test_a_time_without_a_whole_minute_and_too_many_days_are_refused(config: Config) -> None:
    with pytest.raises(UsageError, match="not hold a whole minute"):
        verified(config, 0)
    with pytest.raises(UsageError, match="too many"):
        verify(config, load_plugins(config), Wanted(0, START_NS, candles=3), {}, lambda what, done, total: None)


def test_an_empty_folder_is_a_service_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match="nothing is stored"):
        verified(Config(store=StoreConfig(dir=str(tmp_path))))


def test_facts_are_those_of_every_plugin(config: Config) -> None:
    facts = facts_of(config, load_plugins(config))
    assert facts["okx", "spot"].id_kind == IdKind.CONTIGUOUS and facts["okx", "spot"].proof == "id"
    assert facts["phemex", "spot"].proof == "connection"


def test_instruments_of_the_symbols_file_are_known_and_an_invalid_file_has_none(config: Config, tmp_path: Path) -> None:
    file = tmp_path / "symbols.yaml"
    file.write_text(yaml.safe_dump({"okx.spot": {"listed_at": "2026-11-27T00:00:00Z", "symbols": {
        "PEPE-USDT": {"base": "PEPE", "quote": "USDT"}}}}), "utf-8")
    made = catalogue()
    found = known_instruments(config, load_plugins(config), made)
    assert found["okx", "spot", "PEPE-USDT"].base == "PEPE" and made.ids_of(("okx", "spot"))
    file.write_text("okx.spot: [", "utf-8")
    assert known_instruments(config, load_plugins(config), made) == {}
