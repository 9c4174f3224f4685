"""Check the functions that read frames: pure, complete, and safe for any input; and measure their speed."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.findings import WARN
from pumpwatch.model import Columns, Control, ControlKind, IdKind, Instrument
from pumpwatch.net.frames import Frames, FrameSource, NoSource, next_source_number
from pumpwatch.pipeline.parse import Parsed, VenueParser
from pumpwatch.plugin_kit.mutations import mutated_frames
from pumpwatch.plugin_kit.results import Check, Problems, counted, short
from pumpwatch.plugin_kit.samples import Samples
from pumpwatch.plugin_kit.sandbox import attempt, watch_effects
from pumpwatch.stats import Stats
from pumpwatch.venue import Venue

SINGLE_US, GROUPED_US = 1.3, 0.7  # target time per trade, from the frame to numpy columns
TOGETHER = 3000  # frames that are read at once to measure the speed
ROUNDS = 7
TIMED = 500  # frames from which the timed ones are chosen
GROUPS = 5  # groups of frames to check; the frames of a group are read together
ALIEN = (b'{"never_heard_of":1}', b'{"never_heard_of":"a","of_that":{"neither":[1,2,3]}}', b'["never","effects","of"]',
         b'{"event":"never_heard_of","arg":{"channel":"never_heard_of"}}', b'{"never_heard_of":[{"price":"1","size":"2"}]}')


@dataclass(frozen=True, slots=True)
class Read:
    """The result of reading frames: the numbers of trades, control frames and quarantined frames."""

    rows: int
    controls: int
    refused: int

    @property
    def nothing(self) -> bool:
        """Return whether the frames gave no trade, no control frame and no quarantined frame."""
        return self.rows + self.controls + self.refused == 0


class FrameReader:
    """The collector's own parser of a venue, with a catalogue of the symbols in the given frames."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.source_number = next_source_number()
        self._key = (venue.exchange, venue.market_type)
        self._catalogue = Catalogue()
        self._controls: list[Control] = []
        self.parser = VenueParser(venue, self._catalogue, Clock(), Stats(), quarantine_per_s=1e12)

    def receive_control(self, control: Control) -> None:
        """Collect a control frame; the parser calls this method, because the reader is the source of its frames."""
        self._controls.append(control)

    def receive_trades(self, received_at_ns: int, traded_ns: int) -> None:
        """Ignore the time."""

    def add_symbols(self, frames: Sequence[bytes]) -> None:
        """Add the symbols of these frames to the catalogue."""
        for frame in frames:
            columns = Columns()
            if attempt(self.venue.parse, b"[" + frame + b"]", columns).error is None:
                for symbol in {symbol for symbol in columns.symbol if isinstance(symbol, str)}:
                    self._catalogue.add_if_new(self._key, Instrument(symbol=symbol, base=symbol, quote=""))

    @property
    def others(self) -> int:
        """Return how many frames of the last `parse_frames` are ControlKind.OTHER, which a feed ignores."""
        return sum(control.kind == ControlKind.OTHER for control in self._controls)

    def parse_frames(self, frames: Sequence[bytes]) -> list[Parsed]:
        """Return the trades of frames; `parser.quarantine` then holds the frames that could not be read."""
        self._controls.clear()
        self.parser.quarantine.clear()
        return self.parser.parse(joined(frames, self))

    def read(self, frames: Sequence[bytes]) -> Read:
        """Read frames as if they had arrived together, and count the results."""
        parsed = self.parse_frames(frames)
        return Read(sum(len(part.batch) for part in parsed), len(self._controls), len(self.parser.quarantine))


def joined(frames: Sequence[bytes], source: FrameSource) -> Frames:
    """Return frames in the form in which connections hand them to the parser."""
    stops, end = [], 0
    for frame in frames:
        end += 1 + len(frame)
        stops.append(end)
    text = memoryview(b"[" + b",".join(frames) + b"]")
    return Frames(text, stops, [len(frames)], [time.time_ns()], [source])


def check_frames(venue: Venue, samples: Samples) -> list[Check]:
    """Return a row for each part of reading frames."""
    if not samples.trades:
        none = "trades were not checked: no simulator plugin speaks the protocol, and --frames gave no recorded trade"
        return [_known(venue, samples), _alien(venue), Check(venue.name, "frames", WARN, none), *_mutated(venue, samples)]
    return [_known(venue, samples), _alien(venue), _pure(venue, samples), _columns(venue, samples), *_mutated(venue, samples),
            *_speed(venue, samples)]


def _known(venue: Venue, samples: Samples) -> Check:
    problems, reader = Problems(venue.name, "frames are understood"), FrameReader(venue)
    reader.add_symbols(samples.trades)
    for frame in samples.others[:1000]:
        control = attempt(venue.read_control, frame)
        problems.must(control.value is not None, f"neither trade nor control: {short(frame)} {control.message()}".rstrip())
    for frame in samples.trades[:1000]:
        read = attempt(reader.read, [frame])
        if read.value is None or read.value.nothing:
            problems.must(False, f"{read.message() or 'the frame vanishes'}: {short(frame)}")
        elif read.value.refused:
            problems.should(False, f"{reader.parser.quarantine[0].reason}: {short(frame)}")
    return problems.row(samples.origin or "no frames were given")


def _alien(venue: Venue) -> Check:
    """Read frames that no venue sends. A read_control that knows them would hide new kinds of frames."""
    problems = Problems(venue.name, "unknown frames are reported")
    for frame in ALIEN:
        control = attempt(venue.read_control, frame)
        problems.must(control.value is None, f"read_control reads {short(frame)} as {control.value and control.value.kind}")
    return problems.row(f"{len(ALIEN)} frames that no venue sends are neither control nor trade")


def columns_of(venue: Venue, text: Any) -> dict[str, Any]:
    """Return the columns that `parse` makes of a JSON array of frames. Raises whatever it raises."""
    columns = Columns()
    venue.parse(text, columns)
    return {name: getattr(columns, name) for name in Columns.__slots__}


def _pure(venue: Venue, samples: Samples) -> Check:
    problems = Problems(venue.name, "parse is pure")
    for group in samples.groups[:GROUPS]:
        frames = group[:500]
        text = bytearray(b"[" + b",".join(frames) + b"]")
        before = bytes(text)
        first = attempt(columns_of, venue, memoryview(text))
        kept = repr(first.value)
        with watch_effects() as effects:
            second = attempt(columns_of, venue, memoryview(text))
            attempt(columns_of, venue, b"[" + frames[-1] + b"]")
            for other in samples.others[:100]:
                attempt(venue.read_control, other)
        problems.must(first.value is not None, f"parse of a memoryview raises {first.message()}")
        problems.must(not effects, f"parse or read_control has side effects: {', '.join(sorted(set(effects))[:5])}")
        problems.must(bytes(text) == before, "parse changes its input")
        problems.must(repr(first.value) == kept, "parse changes columns that it has already returned")
        problems.must(repr(second.value) == kept, "parse gives different columns for the same frames the second time")
        problems.must(repr(attempt(columns_of, venue, before).value) == kept, "parse reads bytes differently from a memoryview")
    return problems.row("same frames, same columns; input unchanged; no files, sockets, processes or prints")


def _columns(venue: Venue, samples: Samples) -> Check:
    problems, trades = Problems(venue.name, "columns agree"), 0
    for group in samples.groups[:GROUPS]:
        frames = group[:200]
        together = attempt(columns_of, venue, b"[" + b",".join(frames) + b"]")
        alone = [attempt(columns_of, venue, b"[" + frame + b"]").value for frame in frames]
        if together.value is None:
            problems.must(False, f"frames that parse alone do not parse together: {together.message()}")
            continue
        trades += len(together.value["symbol"])
        _compare_columns(problems, venue, together.value, [single for single in alone if single])
    return problems.row(f"{counted(trades, 'trade')}, the same together and frame by frame")


def _compare_columns(problems: Problems, venue: Venue, columns: dict[str, Any], alone: list[dict[str, Any]]) -> None:
    """Compare the columns of frames with each other, and with those of each frame alone."""
    count = len(columns["symbol"])
    for name in ("price", "quantity", "sell", "trade_id", "timestamp"):
        problems.must(len(columns[name]) == count, f"{name} has {len(columns[name])} rows, symbol {count}")
        problems.must([value for single in alone for value in single[name]] == columns[name],
                      f"{name} depends on which frames are parsed together")
    problems.must(len(columns["sequence_number"]) in (0, count), "only some rows have a sequence_number")
    counts = columns["counts"] or [1] * count
    problems.must(counts == [len(single["symbol"]) for single in alone], "counts differ from the number of trades in each frame")
    kinds = {type(trade_id) for trade_id in columns["trade_id"]}
    problems.must(len(kinds) <= 1 and kinds <= {int, str}, f"trade ids are {', '.join(sorted(kind.__name__ for kind in kinds))}")
    problems.must(venue.id_kind not in (IdKind.CONTIGUOUS, IdKind.MONOTONIC) or kinds <= {int},
                  f"{venue.id_kind} ids must be integers")
    marked = {*columns["flags"], *columns["void"], *columns["past"]}
    problems.must(all(row in range(count) for row in marked), "flags, void or past refer to rows that do not exist")


def _mutated(venue: Venue, samples: Samples) -> list[Check]:
    raising, sorting = Problems(venue.name, "parse refuses what it must"), Problems(venue.name, "no frame vanishes")
    reader = FrameReader(venue)
    reader.add_symbols(samples.trades)
    mutants = mutated_frames(samples.seeds)
    outcomes: list[Read] = []
    for mutant in mutants:
        parsed, control = attempt(venue.parse, b"[" + mutant + b"]", Columns()), attempt(venue.read_control, mutant)
        raising.must(not parsed.broke, f"parse raises {parsed.message()} on {short(mutant)}")
        raising.must(not control.broke, f"read_control raises {control.message()} on {short(mutant)}")
        if parsed.broke or control.broke:
            continue
        read = attempt(reader.read, [mutant])
        raising.must(read.error is None, f"{read.message()} on {short(mutant)}")
        if read.value is not None:
            outcomes.append(read.value)
            empty = b"[]" in mutant or b"{}" in mutant  # it may hold no trade at all
            sorting.must(not read.value.nothing or empty, f"neither trade, control nor refused: {short(mutant)}")
    _check_neighbours(sorting, reader, samples, mutants)
    trades, controls = sum(1 for outcome in outcomes if outcome.rows), sum(1 for outcome in outcomes if outcome.controls)
    refused = sum(1 for outcome in outcomes if outcome.refused)
    return [raising.row(f"{len(mutants):,} mutated frames, nothing raised but refusals"),
            sorting.row(f"of {len(outcomes):,} mutated frames {trades:,} are trades, {controls:,} control, {refused:,} refused")]


def _check_neighbours(problems: Problems, reader: FrameReader, samples: Samples, mutants: list[bytes]) -> None:
    """Fail if good frames between bad ones are not all read."""
    good = samples.trades[:20]
    if not good or problems.failures:
        return
    alone = attempt(reader.read, good)
    bad = mutants[:: max(1, len(mutants) // 100)]
    expected = sum(read.value.rows for read in (attempt(reader.read, [mutant]) for mutant in bad) if read.value)
    mixed: list[bytes] = []
    for number, mutant in enumerate(bad):
        mixed += [mutant, *([good[number]] if number < len(good) else [])]
    together = attempt(reader.read, mixed)
    if alone.value is None or together.value is None:
        problems.must(False, alone.message() or together.message())
    else:
        problems.must(together.value.rows == alone.value.rows + expected,
                      f"bad frames change the reading of their neighbours: {together.value.rows} rows, not "
                      f"{alone.value.rows + expected}")


def _speed(venue: Venue, samples: Samples) -> list[Check]:
    """Return a row for each size of frames. A slow parser is only a warning, since speed depends on the machine."""
    reader = FrameReader(venue)
    candidates = samples.groups[0][:TIMED]
    reader.add_symbols(candidates)
    good = [(frame, read.rows) for frame in candidates if (read := attempt(reader.read, [frame]).value) and not read.refused]
    single = [frame for frame, rows in good if rows == 1]
    grouped = [frame for frame, rows in good if rows >= 5]
    rows = []
    for name, frames, target in (("one trade a frame", single, SINGLE_US), ("several trades a frame", grouped, GROUPED_US)):
        if not frames:
            continue
        micros, problems = us_a_trade(venue, frames), Problems(venue.name, f"speed: {name}")
        problems.should(micros <= target, f"{micros:.2f} µs per trade, the target is {target}")
        rows.append(problems.row(f"{micros:.2f} µs per trade, from the frame to columns"))
    return rows


def us_a_trade(venue: Venue, frames: list[bytes]) -> float:
    """Return the microseconds per trade from the frame to columns: the best of ROUNDS rounds over many frames at once."""
    reader, best = FrameReader(venue), math.inf
    reader.add_symbols(frames)
    repeated = (frames * (TOGETHER // len(frames) + 1))[:TOGETHER]
    for _ in range(ROUNDS):
        together = joined(repeated, NoSource())
        began = time.perf_counter()
        parsed = reader.parser.parse(together)
        took = time.perf_counter() - began
        best = min(best, took * 1e6 / max(1, sum(len(part.batch) for part in parsed)))
    return best
