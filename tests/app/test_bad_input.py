"""Every venue sends what it should not, frames and instrument lists, to a collector that goes on and loses nothing."""

from __future__ import annotations

import re
import time
from typing import Any

from pumpwatch.config import Config
from pumpwatch.plugin_kit.check_frames import FrameReader
from pumpwatch.plugin_kit.check_values import impossible_frames, seeds, trades_of
from pumpwatch.plugin_kit.mutations import ELSEWHERE
from pumpwatch.plugin_kit.samples import gather
from pumpwatch.plugins import load_plugins
from pumpwatch.sim.dialect import Dialect
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.rest_faults import FORMS, WITHOUT
from pumpwatch.store.ledger import Ledger
from pumpwatch.venue import Venue
from tests.app.collector import CollectorProcess
from tests.app.reckoning import counted_in_journal, settle
from tests.conftest import Cli

COINS = 8
PROBLEMS = {"page": "bytes, b'<!DOCTYPE html>", "nothing": "(0 bytes)", "half": "Input data was truncated", "listed": ", b'[",
            "large": "an answer of more than 33,554,432 bytes", "few": "4 symbols that are read are missing",
            "none": "instrument list is empty"}
A_STEP = 18  # frames of a venue: quarantine keeps 20 a second,
ROOM_AGAIN_S = 1.0  # and has room for as many after this long without any


def bad_frames(venue: Venue, dialect: Dialect) -> list[tuple[str, int]]:
    """Return frames of which no trade comes; 1 with those that are for quarantine, 0 with known control."""
    material = gather(venue, (), dialect)
    reader = FrameReader(venue)
    reader.add_symbols(material.trades)
    frames = [text for text in ELSEWHERE if text]
    for seed in seeds(venue, material):
        frames += [frame.decode() for _, frame in impossible_frames(venue, seed) if not trades_of(reader, frame)]
    return [(frame, reader.read([frame.encode()]).refused) for frame in frames]


def venues_and_frames() -> dict[str, list[tuple[str, int]]]:
    plugins = load_plugins(Config())
    dialects = {one.name: one for one in plugins.dialects if isinstance(one, Dialect)}
    return {venue.name: bad_frames(venue, dialects[venue.name]) for venue in plugins.venues if not venue.variant}


def quarantined(figures: dict[str, Any]) -> int:
    return sum(row["quarantined_total"] for row in figures["venues"])


def test_bad_frames_and_lists_of_every_venue_are_put_away_and_told_and_nothing_is_lost(tmp_path, forked_cli: Cli):
    bad = venues_and_frames()
    assert set(PROBLEMS) == set(FORMS) - {WITHOUT}  # a good list, of one symbol less
    refused = {name: sum(for_quarantine for _, for_quarantine in frames) for name, frames in bad.items()}
    assert len(bad) == 12 and min(refused.values()) > 50
    with SimProcess(venues=list(bad), symbols=COINS, rate=360.0, paused=True, folder=str(tmp_path / "venues"),
                    flag_shares={name: {} for name in bad}) as sim, \
            CollectorProcess(sim, tmp_path, roster_refresh_s=2.0) as collector:
        before = collector.wait_until_up()
        sim.resume()
        for turn in range(-(-max(map(len, bad.values())) // A_STEP)):
            form = list(PROBLEMS)[turn % len(PROBLEMS)]
            # 40 MB each time it is asked for: by all venues at once, there would be no time left for anything else
            sim.fault("rest", form=form, seconds=60.0, **({"venue": "okx.spot"} if form == "large" else {}))
            for name, frames in bad.items():
                if part := [frame for frame, _ in frames[turn * A_STEP:][:A_STEP]]:
                    sim.fault("malformed", venue=name, frames=part, connections=1)
            put_away = sum(one for frames in bad.values() for _, one in frames[:(turn + 1) * A_STEP])
            collector.wait_until(lambda figures, until=put_away, said=PROBLEMS[form]: quarantined(figures) >= until and any(
                said in row["list_problem"] for row in figures["venues"]))
            time.sleep(ROOM_AGAIN_S)
        status = forked_cli("status", "-c", collector.config_file)
        sim.fault("rest", seconds=0.0)
        # before trading ends: a venue that does not trade for long is taken for silent
        after = collector.wait_until(lambda figures: not any(row["list_problem"] for row in figures["venues"]))
        settle(sim, collector)
        assert collector.stop() == 0
        log = (tmp_path / "collector.log").read_text("utf-8")
        counted = counted_in_journal(sim.truth(), collector.data)
    assert counted.equal and counted.sent > 5000, counted
    assert {f"{row['exchange']}.{row['market_type']}": row["quarantined_total"] for row in after["venues"]} == refused
    ledger = Ledger(collector.data)
    assert ledger.quarantine_count() == sum(refused.values())
    assert list(ledger.gaps()) == []
    ledger.close()
    for row, first in zip(after["venues"], before["venues"], strict=True):
        assert (row["instruments"], row["subscribed"], row["connections"]) == (
            first["instruments"], first["subscribed"], first["connections"])
    assert status.returncode == 0 and "quarantined" in status.stdout and re.search(r"list of [\s\S]*okx\.spot", status.stdout)
    lines = log.splitlines()
    assert all(line.isprintable() for line in lines) and "Traceback" not in log and " ERROR " not in log
    assert sum("frames quarantined venue=" in line for line in lines) >= 10  # more are held back
    assert sum("instrument list is unreliable" in line for line in lines) >= 10
    assert all(line.endswith(" went=0 connections=1") for line in lines if " roster " in line)
    assert len(lines) < 150
