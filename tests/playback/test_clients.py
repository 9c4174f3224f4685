"""Unmodified clients from the package registry read a replay, counted to the trade. What they are told is in their readers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.clock import NS_PER_MS
from pumpwatch.sim.dialect import Coin
from tests import client_environment
from tests.playback import made_archive
from tests.playback.running import recorded, running

READERS = Path(__file__).parent / "clients"
CRYPTOFEED = ["bybit.spot", "bybit.futures", "gate.spot", "gate.futures", "okx.spot", "okx.futures"]  # see docs/replay.md


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_archive.write(tmp_path_factory.mktemp("archive")).path


def read_by(reader: str, folder: Path, archive: Path, venues: list[str]) -> dict[str, list[list[Any]]]:
    """Return what a client read of a replay that waited for it."""
    with running(folder, archive, "--wait", str(len(venues))) as replay:
        file = folder / "wanted.json"
        file.write_text(json.dumps({"addresses": replay.addresses, "coin": made_archive.COIN,
                                    "counts": dict.fromkeys(venues, made_archive.COUNT)}))
        authority = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), replay.addresses["ca_file"])
        done = subprocess.run([client_environment.clients(), READERS / reader, file], capture_output=True, text=True, timeout=120,
                              env=os.environ | authority, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found: dict[str, list[list[Any]]] = json.loads(done.stdout)
        return found


def check(found: dict[str, list[list[Any]]], archive: Path, venues: list[str], *, contracts: bool) -> None:
    """Compare with the archive. contracts: the client gives the size of a contract, else 1 whatever it is."""
    coins = [Coin(made_archive.COIN, 0.82)]
    sizes = {dialect.name: dialect.symbols(coins)[0].contract_size for dialect in made_archive.dialects()}
    wanted, shifts = recorded(archive), set()
    for venue in venues:
        factor = 1.0 if contracts else sizes[venue]
        no_ids = venue.startswith(made_archive.NO_IDS)
        read = sorted((at, "" if no_ids else number, side, price, round(amount * size * factor, 9))
                      for number, at, side, price, amount, size in found[venue])
        kept = sorted((trade.timestamp // NS_PER_MS, "" if no_ids else trade.trade_id, trade.side, trade.price,
                       round(trade.quantity, 9)) for trade in wanted[venue])
        assert [row[1:] for row in read] == [row[1:] for row in kept], venue
        shifts |= {row[0] - other[0] for row, other in zip(read, kept, strict=True)}
    assert max(shifts) - min(shifts) <= 1  # ms: ccxt cuts times that it reads as floats


def test_ccxt_reads_every_trade_of_all_twelve_venues(archive: Path, tmp_path: Path) -> None:
    venues = sorted(recorded(archive))
    assert len(venues) == 12
    check(read_by("ccxt_reader.py", tmp_path, archive, venues), archive, venues, contracts=True)


def test_cryptofeed_reads_every_trade_of_the_venues_that_it_knows(archive: Path, tmp_path: Path) -> None:
    check(read_by("cryptofeed_reader.py", tmp_path, archive, CRYPTOFEED), archive, CRYPTOFEED, contracts=False)
