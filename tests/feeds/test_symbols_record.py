"""One venue's part of the symbols file."""

from __future__ import annotations

from pumpwatch.clock import Clock
from pumpwatch.feeds.symbols_record import SymbolsRecord
from pumpwatch.instruments.symbols_file import SymbolsFile
from pumpwatch.model import Instrument

VENUE = "venue.spot"


def instrument(symbol: str) -> Instrument:
    return Instrument(symbol=symbol, base=symbol, quote="USDT")


def test_a_later_run_begins_with_the_symbols_that_are_read_anywhere(tmp_path):
    file = SymbolsFile(str(tmp_path / "symbols.yaml"))
    SymbolsRecord(file, VENUE, Clock()).put([instrument("A"), instrument("B"), instrument("C")], [], {"A", "B"}, {"B2": "no"})
    file.write()
    known = SymbolsFile(str(tmp_path / "symbols.yaml")).known(VENUE)
    assert [found.symbol for found in known.instruments] == ["A", "B"]
    assert known.excluded == {"C": "not chosen in the config", "B2": "the venue rejects it: no"}


def test_a_file_that_cannot_be_used_is_logged_and_gives_nothing(tmp_path, caplog):
    path = tmp_path / "symbols.yaml"
    path.write_text("- not a symbols file")
    assert SymbolsRecord(SymbolsFile(str(path)), VENUE, Clock()).known() == ()
    assert "the symbols file cannot be used" in caplog.text
    assert SymbolsRecord(SymbolsFile(""), VENUE, Clock()).known() == ()


def test_an_unchanged_list_is_put_once():
    file = SymbolsFile("")
    record = SymbolsRecord(file, VENUE, Clock())
    record.put([instrument("A")], [], {"A"}, {})
    first = file.known(VENUE)
    record.put([instrument("A")], [], {"A"}, {})
    assert file.known(VENUE) is first
