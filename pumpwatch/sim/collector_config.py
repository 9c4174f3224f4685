"""The config that points a collector at simulated venues."""

from __future__ import annotations

from typing import Any

import yaml

DATA = "sim-data"  # the folder for everything that such a collector writes


def config_yaml(addresses: dict[str, Any], data: str = DATA) -> str:
    """Return the config for these addresses (see `server.main`).

    Everything that the collector writes goes to the folder `data`, apart from real data.
    """
    exchanges: dict[str, Any] = {}
    for name, urls in addresses["venues"].items():
        exchange, _, market_type = name.partition(".")
        markets = exchanges.setdefault(exchange, {"spot": {"enabled": False}, "futures": {"enabled": False}})
        markets[market_type] = dict(urls)
    config = {"exchanges": exchanges, "net": {"ca_file": addresses["ca_file"]}, "symbols_file": f"{data}/symbols.yaml",
              "store": {"dir": data}, "listing": {
                  "archive_dir": data, "sources": {name: dict(board) for name, board in addresses["boards"].items()}}}
    return str(yaml.safe_dump(config, sort_keys=False))
