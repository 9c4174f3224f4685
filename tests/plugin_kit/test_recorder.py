"""`plugins record` writes what a venue sends and answers, and `plugins check` reads it back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pumpwatch_plugins.exchanges.kucoin import VENUES

from pumpwatch.config import Config, ExchangeConfig, VenueConfig
from pumpwatch.model import Venue
from pumpwatch.plugin_kit.check_recorded import check_recorded
from pumpwatch.plugin_kit.recorder import Recording, VenueRecorder, read_recording, record
from pumpwatch.plugin_kit.samples import gather
from pumpwatch.sim.process import SimProcess


def pumpwatch(*words: str) -> tuple[int, list[dict[str, Any]], str]:
    done = subprocess.run([sys.executable, "-m", "pumpwatch", *words, "--json"], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "COLUMNS": "200"}, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_what_a_venue_sends_and_answers_is_recorded_and_keeps_the_contract(tmp_path: Path) -> None:
    config, folder = tmp_path / "config.yaml", tmp_path / "recorded"
    with SimProcess(venues=["kucoin.spot", "kucoin.futures"], symbols=5, rate=600.0) as sim:
        config.write_text(sim.config_yaml())
        code, made, said = pumpwatch("plugins", "record", "kucoin", "-c", str(config), "--dir", str(folder), "--seconds", "3",
                                     "--symbols", "4")
    assert code == 0, said
    assert [(one["venue"], one["instruments"], one["problem"]) for one in made] == [
        ("kucoin.spot", 5, ""), ("kucoin.futures", 5, "")]
    assert all(one["trades"] > 100 and len(one["histories"]) == 3 for one in made)
    assert min(path.name for path in (folder / "kucoin.spot").iterdir()) == "frames.jsonl"
    recorded = read_recording(folder)
    for venue in VENUES:
        own = recorded.of.get(venue.name)
        if venue.variant or own is None:
            continue
        samples = gather(venue, own.frames, None, own.instruments[0], own.histories)
        checks = check_recorded(venue, samples)
        assert [one for one in checks if one.state == "fail"] == []
        assert any("of them in the frames as well, and equal" in one.detail for one in checks)


def test_a_venue_that_is_not_there_is_named_and_the_others_are_recorded(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("net: {connect_timeout_s: 2}\nexchanges: {kucoin: {futures: {enabled: false}, spot: {"
                      "ws_url: 'wss://127.0.0.1:1/x', rest_url: 'https://127.0.0.1:1'}}}\n")
    code, made, said = pumpwatch("plugins", "record", "kucoin", "-c", str(config), "--dir", str(tmp_path / "r"), "--seconds", "1")
    assert code == 69 and [one["venue"] for one in made] == ["kucoin.spot"] and "127.0.0.1:1" in made[0]["problem"], said


def test_a_market_that_the_config_does_not_name_is_recorded_with_its_defaults(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, VenueConfig]] = []

    class Noting(VenueRecorder):
        def __init__(self, venue: Venue, options: VenueConfig, config: Config) -> None:
            asked.append((venue.name, options))

        def run(self, folder: Path, seconds: float, most: int) -> Recording:
            return Recording(folder.name, folder)

    monkeypatch.setattr("pumpwatch.plugin_kit.recorder.Recorder", Noting)
    named = VenueConfig(ws_url="wss://venue.example/x")
    for exchanges in ({}, {"kucoin": ExchangeConfig()}, {"kucoin": ExchangeConfig(spot=named)}):
        asked.clear()
        made = record("kucoin", Config(exchanges=exchanges), tmp_path, 1.0, 1)
        assert [one.venue for one in made] == ["kucoin.spot", "kucoin.futures"]
        spot = named if exchanges.get("kucoin", ExchangeConfig()).spot else VenueConfig()
        assert asked == [("kucoin.spot", spot), ("kucoin.futures", VenueConfig())]


@pytest.mark.parametrize("name", ["questdb", "nobody"])
def test_a_plugin_without_a_venue_is_wrong_usage(name: str, tmp_path: Path) -> None:
    code, _, said = pumpwatch("plugins", "record", name, "--dir", str(tmp_path))
    assert code == 2 and "no plugin with a venue is called" in said
