"""How a venue's frames are read: purely, wholly, and whatever comes; and how quickly."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.model import Columns, Control, ControlKind, IdKind, Instrument, Venue
from pumpwatch.net.frames import Frames, FrameSource, NoSource
from pumpwatch.pipeline.parse import Parsed, VenueParser
from pumpwatch.plugin_kit.mutations import mutated_frames
from pumpwatch.plugin_kit.results import WARN, Check, Problems, many, short
from pumpwatch.plugin_kit.samples import Samples
from pumpwatch.plugin_kit.sandbox import attempt, listening
from pumpwatch.stats import Stats

SINGLE_US, GROUPED_US = 1.3, 0.7  # a trade, from the frame to numpy columns
TOGETHER = 3000  # frames that are read at once for the speed
ROUNDS = 7
GROUPS = 5  # of frames that are read together
ALIEN = (b'{"never_heard_of":1}', b'{"never_heard_of":"a","of_that":{"neither":[1,2,3]}}', b'["never","heard","of"]',
         b'{"event":"never_heard_of","arg":{"channel":"never_heard_of"}}', b'{"never_heard_of":[{"price":"1","size":"2"}]}')


@dataclass(frozen=True, slots=True)
class Read:
    """What came of frames: rows of trades, control frames, quarantined frames."""

    rows: int
    controls: int
    refused: int

    @property
    def nothing(self) -> bool:
        """Whether they vanished."""
        return self.rows + self.controls + self.refused == 0


class Reader:
    """The collector's own parser of a venue, with a catalogue that knows every symbol it meets."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self._key = (venue.exchange, venue.market_type)
        self._catalogue = Catalogue()
        self._controls: list[Control] = []
        self.parser = VenueParser(venue, self._catalogue, Clock(), Stats(), quarantine_per_s=1e12)

    def receive_control(self, control: Control) -> None:
        """Collect a control frame; the parser calls it, as this reader is the source of its frames."""
        self._controls.append(control)

    def receive_trades(self, received_at_ns: int) -> None:
        """Ignore the time."""

    def meet(self, frames: Sequence[bytes]) -> None:
        """Make the symbols of frames known."""
        for frame in frames:
            columns = Columns()
            if attempt(self.venue.parse, b"[" + frame + b"]", columns).error is None:
                for symbol in {one for one in columns.symbol if isinstance(one, str)}:
                    self._catalogue.add_if_new(self._key, Instrument(symbol=symbol, base=symbol, quote=""))

    @property
    def others(self) -> int:
        """Frames of the last `take` that read_control knew, and that mean nothing to a feed."""
        return sum(control.kind == ControlKind.OTHER for control in self._controls)

    def parse_frames(self, frames: Sequence[bytes]) -> list[Parsed]:
        """Return the trades of frames; what else is in them is in `parser.quarantine`, or was control."""
        self._controls.clear()
        self.parser.quarantine.clear()
        return self.parser.parse(joined(frames, self))

    def read(self, frames: Sequence[bytes]) -> Read:
        """Read frames as if they came together."""
        parsed = self.parse_frames(frames)
        return Read(sum(len(one.batch) for one in parsed), len(self._controls), len(self.parser.quarantine))


def joined(frames: Sequence[bytes], source: FrameSource) -> Frames:
    """Return frames as the connections of a venue leave them for the parser."""
    stops, end = [], 0
    for frame in frames:
        end += 1 + len(frame)
        stops.append(end)
    text = memoryview(b"[" + b",".join(frames) + b"]")
    return Frames(text, stops, [len(frames)], [time.time_ns()], [source])


def check_reading(venue: Venue, material: Samples) -> list[Check]:
    """Return a row for each part of reading frames."""
    if not material.trades:
        none = "no simulator plugin speaks its protocol, and no recorded frame of a trade is given: --frames FILE does that"
        return [_known(venue, material), _alien(venue), Check(venue.name, "frames", WARN, none), *_mutated(venue, material)]
    return [_known(venue, material), _alien(venue), _pure(venue, material), _columns(venue, material), *_mutated(venue, material),
            *_speed(venue, material)]


def _known(venue: Venue, material: Samples) -> Check:
    problems, reader = Problems(venue.name, "frames are understood"), Reader(venue)
    reader.meet(material.trades)
    for frame in material.others[:1000]:
        control = attempt(venue.read_control, frame)
        problems.want(control.value is not None, f"neither trade nor control {control.said()}: {short(frame)}")
    for frame in material.trades[:1000]:
        read = attempt(reader.read, [frame])
        if read.value is None or read.value.nothing:
            problems.want(False, f"{read.said() or 'nothing comes of it'}: {short(frame)}")
        elif read.value.refused:
            problems.wish(False, f"{reader.parser.quarantine[0].reason}: {short(frame)}")
    return problems.row(material.origin or "no frames to look at")


def _alien(venue: Venue) -> Check:
    """Hand over frames that no venue sends: whoever knows them would let anything pass without a word."""
    problems = Problems(venue.name, "unknown frames are reported")
    for frame in ALIEN:
        control = attempt(venue.read_control, frame)
        problems.want(control.value is None, f"{control.value and control.value.kind} is read of {short(frame)}")
    return problems.row(f"{len(ALIEN)} frames that no venue sends are neither control nor trade")


def columns_of(venue: Venue, text: Any) -> dict[str, Any]:
    """Return what `parse` appends for a JSON array of frames. Raises what it raises."""
    columns = Columns()
    venue.parse(text, columns)
    return {name: getattr(columns, name) for name in Columns.__slots__}


def _pure(venue: Venue, material: Samples) -> Check:
    problems = Problems(venue.name, "parse is pure")
    for group in material.groups[:GROUPS]:
        frames = group[:500]
        text = bytearray(b"[" + b",".join(frames) + b"]")
        before = bytes(text)
        first = attempt(columns_of, venue, memoryview(text))
        kept = repr(first.value)
        with listening() as heard:
            second = attempt(columns_of, venue, memoryview(text))
            attempt(columns_of, venue, b"[" + frames[-1] + b"]")
            for other in material.others[:100]:
                attempt(venue.read_control, other)
        problems.want(first.value is not None, f"parse of a memoryview raises {first.said()}")
        problems.want(not heard, f"it reaches outside: {', '.join(sorted(set(heard))[:5])}")
        problems.want(bytes(text) == before, "it changes its input")
        problems.want(repr(first.value) == kept, "it changes columns that it has already given")
        problems.want(repr(second.value) == kept, "the same frames give other columns the second time")
        problems.want(repr(attempt(columns_of, venue, before).value) == kept, "bytes give other columns than a memoryview")
    return problems.row("same frames, same columns; input unchanged; no files, sockets, processes or prints")


def _columns(venue: Venue, material: Samples) -> Check:
    problems, trades = Problems(venue.name, "columns agree"), 0
    for group in material.groups[:GROUPS]:
        frames = group[:200]
        together = attempt(columns_of, venue, b"[" + b",".join(frames) + b"]")
        alone = [attempt(columns_of, venue, b"[" + frame + b"]").value for frame in frames]
        if together.value is None:
            problems.want(False, f"frames that are read in pairs are not read together: {together.said()}")
            continue
        trades += len(together.value["symbol"])
        _agree(problems, venue, together.value, [one for one in alone if one])
    return problems.row(f"{many(trades, 'trade')}, the same together and frame by frame")


def _agree(problems: Problems, venue: Venue, columns: dict[str, Any], alone: list[dict[str, Any]]) -> None:
    """Hold the columns of frames against each other, and against those of each frame."""
    count = len(columns["symbol"])
    for name in ("price", "quantity", "sell", "trade_id", "timestamp"):
        problems.want(len(columns[name]) == count, f"{name} has {len(columns[name])} rows, symbol {count}")
        problems.want([value for one in alone for value in one[name]] == columns[name],
                      f"{name} depends on which frames come together")
    problems.want(len(columns["sequence_number"]) in (0, count), "sequence_number is there for some rows only")
    counts = columns["counts"] or [1] * count
    problems.want(counts == [len(one["symbol"]) for one in alone], "counts are not the trades of each frame")
    kinds = {type(one) for one in columns["trade_id"]}
    problems.want(len(kinds) <= 1 and kinds <= {int, str}, f"trade ids are {', '.join(sorted(kind.__name__ for kind in kinds))}")
    problems.want(venue.id_kind not in (IdKind.CONTIGUOUS, IdKind.MONOTONIC) or kinds <= {int},
                  f"ids that are {venue.id_kind} must be whole numbers")
    marked = {*columns["flags"], *columns["void"], *columns["past"]}
    problems.want(all(row in range(count) for row in marked), "flags, void or past name rows that are not there")


def _mutated(venue: Venue, material: Samples) -> list[Check]:
    raising, sorting = Problems(venue.name, "parse refuses what it must"), Problems(venue.name, "no frame vanishes")
    reader = Reader(venue)
    reader.meet(material.trades)
    mutants = mutated_frames(material.seeds)
    outcomes: list[Read] = []
    for mutant in mutants:
        parsed, control = attempt(venue.parse, b"[" + mutant + b"]", Columns()), attempt(venue.read_control, mutant)
        raising.want(not parsed.broke, f"parse raises {parsed.said()} on {short(mutant)}")
        raising.want(not control.broke, f"read_control raises {control.said()} on {short(mutant)}")
        if parsed.broke or control.broke:
            continue
        read = attempt(reader.read, [mutant])
        raising.want(read.error is None, f"{read.said()} on {short(mutant)}")
        if read.value is not None:
            outcomes.append(read.value)
            empty = b"[]" in mutant or b"{}" in mutant  # nothing in it to lose
            sorting.want(not read.value.nothing or empty, f"neither trade, control nor refused: {short(mutant)}")
    _neighbours(sorting, reader, material, mutants)
    trades, controls = sum(1 for one in outcomes if one.rows), sum(1 for one in outcomes if one.controls)
    refused = sum(1 for one in outcomes if one.refused)
    return [raising.row(f"{len(mutants):,} mutated frames, nothing raised but refusals"),
            sorting.row(f"of {len(outcomes):,} mutated frames {trades:,} are trades, {controls:,} control, {refused:,} refused")]


def _neighbours(problems: Problems, reader: Reader, material: Samples, mutants: list[bytes]) -> None:
    """Good frames between bad ones must all be read."""
    good = material.trades[:20]
    if not good or problems.failures:
        return
    alone = attempt(reader.read, good)
    bad = mutants[:: max(1, len(mutants) // 100)]
    expected = sum(one.value.rows for one in (attempt(reader.read, [mutant]) for mutant in bad) if one.value)
    mixed: list[bytes] = []
    for number, mutant in enumerate(bad):
        mixed += [mutant, *([good[number]] if number < len(good) else [])]
    together = attempt(reader.read, mixed)
    if alone.value is None or together.value is None:
        problems.want(False, alone.said() or together.said())
    else:
        problems.want(together.value.rows == alone.value.rows + expected,
                      f"bad frames change what is read of their neighbours: {together.value.rows} rows, not "
                      f"{alone.value.rows + expected}")


def _speed(venue: Venue, material: Samples) -> list[Check]:
    """Return how long a trade takes; never a failure, since it is this machine's speed."""
    taker = Reader(venue)
    taker.meet(material.groups[0])
    good = [frame for frame in material.groups[0] if (read := attempt(taker.read, [frame]).value) and not read.refused]
    single = [frame for frame in good if _trades_in(venue, frame) == 1]
    grouped = [frame for frame in good if _trades_in(venue, frame) >= 5]
    rows = []
    for name, frames, target in (("one trade a frame", single, SINGLE_US), ("several trades a frame", grouped, GROUPED_US)):
        if not frames:
            continue
        micros, problems = us_a_trade(venue, frames), Problems(venue.name, f"speed: {name}")
        problems.wish(micros <= target, f"{micros:.2f} us a trade, wanted {target}")
        rows.append(problems.row(f"{micros:.2f} us a trade, from the frame to columns"))
    return rows


def us_a_trade(venue: Venue, frames: list[bytes]) -> float:
    """Return the microseconds from a frame to columns by trade, the best of some rounds over many frames at once."""
    reader, best = Reader(venue), math.inf
    reader.meet(frames)
    many = (frames * (TOGETHER // len(frames) + 1))[:TOGETHER]
    for _ in range(ROUNDS):
        together = joined(many, NoSource())
        began = time.perf_counter()
        parsed = reader.parser.parse(together)
        took = time.perf_counter() - began
        best = min(best, took * 1e6 / max(1, sum(len(one.batch) for one in parsed)))
    return best


def _trades_in(venue: Venue, frame: bytes) -> int:
    found = attempt(columns_of, venue, b"[" + frame + b"]").value
    return len(found["symbol"]) if found else 0
