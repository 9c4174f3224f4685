"""A tape is read from files in order of time, and replayed frame by frame."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.errors import ConfigError
from pumpwatch.sim.options import TapeOptions
from pumpwatch.sim.tape import RecordingSource, read_tape, tape_specs
from tests.sim.fakes import DIALECT, START_NS, connect, venue_of


def raw(number: int, *prices: str, symbol: str = "AAA") -> str:
    return json.dumps({"s": symbol, "t": number, "T": START_NS // 1_000_000, "p": prices or ("10.25",)})


def tape(path: Path, *frames: tuple[int, str]) -> str:
    text = "\n".join(json.dumps({"raw": frame, "received_ns": at}) for at, frame in frames).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return str(path)


def test_files_are_merged_by_time_without_frames_that_are_no_trades(tmp_path: Path) -> None:
    files = [tape(tmp_path / "a.jsonl", (5, raw(1)), (9, raw(3))),
             tape(tmp_path / "b.jsonl.gz", (7, raw(2)), (8, '{"s":"AAA","t":0,"T":0}'))]
    frames = read_tape(DIALECT, files)
    assert [(frame.received_ns, frame.trades[0].trade_id) for frame in frames] == [(5, 1), (7, 2), (9, 3)]


@pytest.mark.parametrize("line", ["nonsense", '{"received_ns":1}', '{"raw":"[]"}'])
def test_a_line_that_is_not_a_frame_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "bad.jsonl").write_text(json.dumps({"raw": raw(1)}) + "\n" + line)
    with pytest.raises(ConfigError, match=r"bad\.jsonl:2: not a recorded frame of fake\.spot"):
        read_tape(DIALECT, [str(tmp_path / "bad.jsonl")])
    with pytest.raises(ConfigError, match="cannot read the tape"):
        read_tape(DIALECT, [str(tmp_path / "none.jsonl")])


def test_symbols_get_the_decimals_that_their_digits_need(tmp_path: Path) -> None:
    file = tape(tmp_path / "a.jsonl", (1, raw(1, "10.2", symbol="NEW-USDT")), (2, raw(2, "10.125", symbol="NEW-USDT")))
    (spec,) = tape_specs(DIALECT, [file])
    assert (spec.symbol, spec.base, spec.quote, spec.price) == ("NEW-USDT", "NEW", "USDT", 10.2)
    assert (spec.price_decimals, spec.quantity_decimals) == (3, 1)


@pytest.mark.parametrize(("options", "sent"), [({}, [1, 2, 3]), ({"speed": 2.0}, [2, 3, 3]), ({"rate": 1.0}, [1, 2, 3])])
def test_frames_come_at_the_recordings_pace_a_multiple_of_it_or_a_rate(
        tmp_path: Path, options: dict[str, float], sent: list[int]) -> None:
    file = tape(tmp_path / "a.jsonl", *((number * NS_PER_S, raw(10 * number, "10.25", "10.5")) for number in (1, 2, 3)))
    venue = venue_of(FakeClock())
    _, stream = connect(venue, "AAA")
    source = RecordingSource(venue, TapeOptions(files={"fake.spot": [file]}, **options))
    source.prepare()
    seen = []
    for second in (0.5 if not options.get("rate") else 1.0, 1.0, 1.0):
        source.advance(second, 0, 0)
        seen.append(len(stream.written))
    assert seen == sent and source.finished() and source.behind() == 0 and venue.made == 6
