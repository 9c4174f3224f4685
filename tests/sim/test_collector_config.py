"""The config for a simulation is one that a collector accepts, and keeps away from real data."""

from __future__ import annotations

from pathlib import Path

from pumpwatch import config
from pumpwatch.sim.collector_config import config_yaml

ADDRESSES = {"venues": {"binance.spot": {"ws_url": "wss://127.0.0.1:1/ws", "rest_url": "https://127.0.0.1:1"}},
             "boards": {"upbit": {"url": "https://127.0.0.1:2/list"}}, "ca_file": "/tmp/ca.pem"}


def test_a_collector_accepts_it_and_reads_only_the_simulated_markets(tmp_path: Path) -> None:
    (tmp_path / "pumpwatch.yaml").write_text(config_yaml(ADDRESSES))
    read = config.load(tmp_path / "pumpwatch.yaml", {})
    assert list(read.exchanges) == ["binance"]
    assert read.exchanges["binance"].spot.ws_url == "wss://127.0.0.1:1/ws"
    assert not read.exchanges["binance"].futures.enabled
    assert (read.net.ca_file, read.listing.sources["upbit"].url) == ("/tmp/ca.pem", "https://127.0.0.1:2/list")


def test_everything_is_written_apart_from_real_data(tmp_path: Path) -> None:
    (tmp_path / "pumpwatch.yaml").write_text(config_yaml(ADDRESSES))
    read, real = config.load(tmp_path / "pumpwatch.yaml", {}), config.Config()
    assert read.store.dir != real.store.dir and read.symbols_file != real.symbols_file
    assert read.listing.archive_dir != real.listing.archive_dir
