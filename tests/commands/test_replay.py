"""`pumpwatch replay`: wrong archives and options, the lines that it prints, and its progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pumpwatch.commands.replay import PROGRESS_S, ReplayProgress
from pumpwatch.playback.replay import PlaybackProgress
from tests.playback import made_archive


def test_it_plays_as_fast_as_clients_take_it_and_ends_with_0(forked_cli: Any, tmp_path: Path) -> None:
    path = made_archive.write(tmp_path / "data").path
    done = forked_cli("replay", "--archive", path, "--speed", "max", "--folder", tmp_path / "ca")
    total = 12 * made_archive.COUNT
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load(done.stdout)
    assert config["exchanges"]["bybit"]["spot"]["ws_url"].startswith("wss://127.0.0.1:")
    assert config["listing"]["sources"]["upbit"]["url"].startswith("https://127.0.0.1:")
    assert config["net"]["ca_file"] == str(tmp_path / "ca" / "ca.pem") and (tmp_path / "ca" / "ca.pem").is_file()
    assert f"{total} trades of SOMI on 12 venues" in done.stderr
    assert f"all trades were played: 0.9 s after the notice: {total} of {total} trades played, 0 sent" in done.stderr
    for name in ("PumpWatch", "ccxt", "cryptofeed"):
        assert f"  {name}:" in done.stderr


@pytest.mark.parametrize(("spoil", "code", "message"), [
    (None, 2, "no such folder"),
    ("cut", 74, "differs from its manifest"),
    ("newer", 74, "unknown format `pumpwatch.manifest/7`"),
])
def test_an_archive_that_cannot_be_played_is_one_message_and_an_exit_code(
        forked_cli: Any, tmp_path: Path, spoil: str | None, code: int, message: str) -> None:
    path = tmp_path / "none"
    if spoil:
        path = made_archive.write(tmp_path, count=4).path
        if spoil == "cut":
            (path / "notice.json").write_bytes((path / "notice.json").read_bytes()[:-9])
        else:
            (path / "manifest.json").write_text('{"format":"pumpwatch.manifest/7"}')
    done = forked_cli("replay", "--archive", path)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "fast"])
def test_a_speed_is_a_factor_above_0_or_max(forked_cli: Any, tmp_path: Path, speed: str) -> None:
    done = forked_cli("replay", "--archive", tmp_path, "--speed", speed)
    assert done.returncode == 2 and "is neither a number above 0 nor `max`" in done.stderr


def test_a_lead_is_a_finite_number(forked_cli: Any, tmp_path: Path) -> None:
    done = forked_cli("replay", "--archive", tmp_path, "--lead-s", "nan")
    assert done.returncode == 2 and "nan is not a finite number" in done.stderr


def test_a_line_of_progress_comes_at_each_new_state_and_every_few_seconds() -> None:
    told: list[str] = []
    now = [0.0]
    progress = ReplayProgress(told.append, lambda: now[0])
    waiting, early = PlaybackProgress("waiting", 0.0, 0, 9, 0, 2, 0), PlaybackProgress("playing", -1.5, 3, 9, 4, 2, 0)
    late = PlaybackProgress("playing", 3.25, 8, 9, 9, 2, 1)
    for at_s, played in ((0.0, waiting), (1.0, waiting), (2.0, early), (2.0 + PROGRESS_S - 0.1, early), (2.0 + PROGRESS_S, late)):
        now[0] = at_s
        progress.show(played)
    assert told == ["waiting for a client that subscribes to trades, 2 connected",
                    "1.5 s before the notice: 3 of 9 trades played, 4 sent, 2 clients connected",
                    "3.2 s after the notice: 8 of 9 trades played, 9 sent, 2 clients connected"]
