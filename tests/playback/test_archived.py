"""An archive is read whole, in the order in which its trades came; a damaged or newer one is one clear error."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.errors import StorageError, UsageError
from pumpwatch.playback.archived import NO_NUMBER, first_event_ns, read_archived
from tests.playback import made_archive

SPOT = "raw/binance/spot.json"


def sealed(path: Path, file: str, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change a file of an archive and its checksum, so that only the content is wrong."""
    content = json.loads((path / file).read_bytes())
    change(content)
    text = json.dumps(content).encode()
    (path / file).write_bytes(text)
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest["files"][file] = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def test_trades_come_in_the_order_of_their_arrival_and_those_fetched_later_as_if_they_had_been_live(tmp_path: Path) -> None:
    archived = read_archived(made_archive.write(tmp_path).path)
    assert (archived.coin, archived.announced_at_ns, len(archived.venues)) == ("SOMI", made_archive.ANNOUNCED_NS, 12)
    assert archived.trades == 12 * made_archive.COUNT
    for venue in archived.venues:
        assert (venue.arrived_at[1:] >= venue.arrived_at[:-1]).all()
        late = int((venue.flags != 0).nonzero()[0][0])  # fetched an hour later
        assert venue.arrived_at[late] - venue.timestamp[late] < 10**9
    assert first_event_ns(archived) == min(int(venue.arrived_at[0]) for venue in archived.venues)


def test_ids_that_are_words_are_kept_as_words(tmp_path: Path) -> None:
    archived = read_archived(made_archive.write(tmp_path).path)
    for venue in archived.venues:
        words = venue.name in ("bybit.futures", "phemex.spot", "phemex.futures")
        assert ((venue.number == NO_NUMBER) == words).all()
        assert words or [int(text) for text in venue.trade_id] == venue.number.tolist()


def test_notices_have_what_their_raw_text_says(tmp_path: Path) -> None:
    notices = {notice.source: notice for notice in read_archived(made_archive.write(tmp_path).path).notices}
    assert notices.keys() == {"upbit", "upbit_markets", "ownsignals"}
    notice = notices["upbit"]
    assert (notice.notice_id, notice.uuid, notice.category, notice.body) == ("7001", "81234", "거래", "<p>KRW</p>")
    assert (notices["upbit_markets"].notice_id, notices["upbit_markets"].body) == ("KRW-SOMI", "")


def test_a_trade_without_a_usable_price_is_left_out_and_counted(tmp_path: Path) -> None:
    def spoil(raw: dict[str, Any]) -> None:
        raw["trades"]["price"][:2] = [None, -1.0]

    archived = read_archived(sealed(made_archive.write(tmp_path).path, SPOT, spoil))
    (spot,) = (venue for venue in archived.venues if venue.name == "binance.spot")
    assert (len(spot), spot.left_out) == (made_archive.COUNT - 2, 2)


def doubled(raw: dict[str, Any]) -> None:
    raw["count"] += 1
    for column in raw["trades"].values():
        column.append(column[-1])


def shortened(raw: dict[str, Any]) -> None:
    raw["trades"]["side"].pop()


def newer(raw: dict[str, Any]) -> None:
    raw["format"] = "pumpwatch.raw/9"


def of_other_symbols(raw: dict[str, Any]) -> None:
    raw["symbols"] = []


@pytest.mark.parametrize(("file", "change", "message"), [
    (SPOT, doubled, "it repeats 1 trades and 0 symbols"),
    (SPOT, shortened, "columns have 39, 40 trades, not 40"),
    (SPOT, newer, "unknown format `pumpwatch.raw/9`; this version reads"),
    (SPOT, of_other_symbols, "trades of SOMIUSDT, which it does not list"),
    (SPOT, lambda raw: raw.pop("trades"), "cannot be read: Object missing required field `trades`"),
])
def test_an_archive_whose_content_is_wrong_is_a_storage_error(
        tmp_path: Path, file: str, change: Callable[[dict[str, Any]], None], message: str) -> None:
    path = sealed(made_archive.write(tmp_path).path, file, change)
    with pytest.raises(StorageError, match=message):
        read_archived(path)


def test_an_archive_that_is_cut_differs_from_its_manifest_and_the_first_faults_are_named(tmp_path: Path) -> None:
    path = made_archive.write(tmp_path).path
    text = (path / SPOT).read_bytes()
    (path / SPOT).write_bytes(text[:-100])
    with pytest.raises(StorageError, match=r"differs from its manifest: raw/binance/spot\.json: has [\d,]+ bytes, not"):
        read_archived(path)
    for file in sorted((path / "raw" / "okx").iterdir()):
        file.unlink()
    with pytest.raises(StorageError, match="missing, and 2 more"):
        read_archived(path)
    (path / "manifest.json").write_text('{"format": "pumpwatch.manifest/2"}')
    with pytest.raises(StorageError, match=r"unknown format `pumpwatch\.manifest/2`") as raised:
        read_archived(path)
    assert "newer PumpWatch" in str(raised.value.hint)


def test_a_folder_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        read_archived(tmp_path / "none")
