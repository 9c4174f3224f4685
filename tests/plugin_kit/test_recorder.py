"""`plugins record` writes a venue's frames and answers, and `plugins check` reads them back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pumpwatch_plugins.exchanges.kucoin import VENUES

from pumpwatch.config import Config, ExchangeConfig, VenueConfig, load
from pumpwatch.errors import EXIT_USAGE, UsageError
from pumpwatch.plugin_kit.check_recorded import check_recorded
from pumpwatch.plugin_kit.recorder import enabled_venues, line_of, read_recording, record, recorded_files
from pumpwatch.plugin_kit.samples import gather, read_frames
from pumpwatch.sim.process import SimProcess
from tests.conftest import Cli


def test_a_recording_of_both_markets_keeps_the_contract(tmp_path: Path) -> None:
    folder = tmp_path / "recorded"
    with SimProcess(venues=["kucoin.spot", "kucoin.futures"], symbols=5, rate=1200.0) as sim:
        (tmp_path / "config.yaml").write_text(sim.config_yaml())
        made = record("kucoin", load(tmp_path / "config.yaml", {}), folder, seconds=1.0, symbols=4)
    assert [(recording.venue, recording.instruments, recording.problem) for recording in made] == [
        ("kucoin.spot", 5, ""), ("kucoin.futures", 5, "")]
    assert all(recording.trades > 100 and len(recording.histories) == 3 for recording in made)
    assert min(path.name for path in (folder / "kucoin.spot").iterdir()) == "frames.jsonl"
    recorded = read_recording(folder)
    for venue in VENUES:
        own = recorded.by_venue.get(venue.name)
        if venue.variant or own is None:
            continue
        checks = check_recorded(venue, gather(venue, own.frames, None, own.instruments[0], own.histories))
        assert [row for row in checks if row.state == "fail"] == []
        assert any("of them equal in the frames" in row.detail for row in checks)


def test_a_venue_that_cannot_be_reached_is_named_and_the_others_are_recorded(forked_cli: Cli, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("net: {connect_timeout_s: 2}\nexchanges: {kucoin: {futures: {enabled: false}, spot: {"
                      "ws_url: 'wss://127.0.0.1:1/x', rest_url: 'https://127.0.0.1:1'}}}\n")
    done = forked_cli("plugins", "record", "kucoin", "-c", config, "--dir", tmp_path / "r", "--seconds", "1", "--json")
    (made,) = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, made["venue"]) == (69, "kucoin.spot") and "127.0.0.1:1" in made["problem"], done.stderr


NAMED = VenueConfig(ws_url="wss://venue.example/x")
OFF = VenueConfig(enabled=False)


@pytest.mark.parametrize(("exchange", "expected"), [
    (None, [VenueConfig(), VenueConfig()]),
    (ExchangeConfig(), [VenueConfig(), VenueConfig()]),
    (ExchangeConfig(spot=NAMED), [NAMED, VenueConfig()]),
    (ExchangeConfig(spot=OFF, futures=NAMED), [NAMED]),
    (ExchangeConfig(enabled=False), []),
])
def test_a_market_that_the_config_does_not_name_is_recorded_with_its_defaults(
        exchange: ExchangeConfig | None, expected: list[VenueConfig]) -> None:
    chosen = enabled_venues("kucoin", Config(exchanges={"kucoin": exchange} if exchange else {}))
    assert [options for _, options in chosen] == expected
    assert {venue.name for venue, _ in chosen} <= {"kucoin.spot", "kucoin.futures"}


@pytest.mark.parametrize("name", ["questdb", "nobody"])
def test_a_plugin_without_a_venue_is_wrong_usage(name: str) -> None:
    with pytest.raises(UsageError, match="no plugin with a venue is called") as caught:
        enabled_venues(name, Config())
    assert caught.value.exit_code == EXIT_USAGE


def test_files_and_folders_given_together_are_all_read(tmp_path: Path) -> None:
    home = tmp_path / "x.spot"
    home.mkdir()
    for name, body in {"frames.jsonl": b'{"a":1}\n{"raw":"b\\n"}\n', "instruments.1.json": b"[1]", "instruments.2.json": b"[2]",
                       "history.A%2FB.json": b"[3]"}.items():
        (home / name).write_bytes(body)
    found = recorded_files(str(home / "frames.jsonl"), [str(home / "instruments.1.json")], [str(home / "history.A%2FB.json")],
                           str(tmp_path))
    assert (found.frames, found.instruments) == ([b'{"a":1}', b"b\n"], [[b"[1]"]])
    own = found.by_venue["x.spot"]
    assert (own.frames, own.instruments, own.histories[0].symbol) == (found.frames, [[b"[1]", b"[2]"]], "A/B")


@pytest.mark.parametrize("read", [
    lambda folder: recorded_files(None, [str(folder / "none.json")], [], None),
    lambda folder: recorded_files(None, [], [str(folder / "empty")], None),
    lambda folder: recorded_files(None, [], [], str(folder)),
    lambda folder: read_recording(folder / "none"),
])
def test_a_file_that_is_missing_or_empty_is_wrong_usage(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    (tmp_path / "empty").write_bytes(b" \n")
    with pytest.raises(UsageError):
        read(tmp_path)


def test_every_recorded_frame_is_read_back_unchanged(tmp_path: Path) -> None:
    sent = [b'{"a":1}', b"", b" spaced ", b'{"a":\r1}', b'{"a":\n1}', b'{"raw":"x"}', b"ping"]
    (tmp_path / "frames.jsonl").write_bytes(b"".join(map(line_of, sent)))
    assert read_frames(tmp_path / "frames.jsonl") == sent
