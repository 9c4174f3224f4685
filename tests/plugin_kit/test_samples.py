"""Samples come from a recording, or from a dialect without a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from pumpwatch_plugins.exchanges.kucoin import VENUES as KUCOIN
from pumpwatch_plugins.simulators.binance import SPOT_DIALECT

from pumpwatch.config import Config
from pumpwatch.errors import UsageError
from pumpwatch.model import Columns
from pumpwatch.plugin_kit.check_frames import FrameReader
from pumpwatch.plugin_kit.samples import gather, read_frames
from pumpwatch.plugins import load_plugins
from pumpwatch.venue import HttpRequest
from tests.plugin_kit.good_venue import FRAMES, SPOT, samples_of


def test_recorded_frames_are_sorted_into_trades_and_others_and_by_protocol() -> None:
    wrapped = b'{"stream":"btcusdt@trade","data":%s}' % FRAMES[0]
    samples = samples_of(frames=[*FRAMES, wrapped])
    assert (len(samples.trades), samples.others, samples.origin) == (21, FRAMES[20:], "22 recorded frames")
    assert [len(group) for group in samples.groups] == [20, 1]
    assert samples.seeds == [FRAMES[0], wrapped, FRAMES[20]]


def test_a_dialect_makes_frames_and_answers_requests_without_a_recording() -> None:
    samples = gather(SPOT, (), SPOT_DIALECT)
    assert samples.origin == "3000 frames of its dialect" and samples.simulated is not None
    columns = Columns()
    SPOT.parse(b"[" + b",".join(samples.trades) + b"]", columns)
    assert len(columns.symbol) == 3000
    listed = SPOT.parse_instruments([samples.simulated.answer(request) for request in SPOT.instruments_requests])
    assert {instrument.symbol for instrument in listed} >= set(samples.simulated.table.symbols)
    assert samples.simulated.answer(HttpRequest("/nowhere")) == b""


def test_another_protocol_of_a_venue_gets_the_frames_that_its_dialect_makes_of_it() -> None:
    dialects = {dialect.name: dialect for dialect in load_plugins(Config()).dialects}
    (tokenless,) = [venue for venue in KUCOIN if (venue.name, venue.variant) == ("kucoin.spot", "tokenless")]
    samples = gather(tokenless, (), dialects[tokenless.name])
    reader = FrameReader(tokenless)
    reader.add_symbols(samples.trades)
    read = reader.read(samples.trades)
    assert (samples.origin, read.rows, read.controls, read.refused) == ("3000 frames of its dialect", 3000, 0, 0)


def test_frames_are_read_raw_or_from_json(tmp_path: Path) -> None:
    (tmp_path / "frames").write_bytes(FRAMES[0] + b'\n\n{"raw":"pong"}\n')
    assert read_frames(tmp_path / "frames") == [FRAMES[0], b"pong"]


@pytest.mark.parametrize("name", ["empty", "none"])
def test_a_file_without_frames_is_wrong_usage(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").write_text("\n\n")
    with pytest.raises(UsageError):
        read_frames(tmp_path / name)
