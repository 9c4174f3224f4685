"""Market data: candles, tickers, order books and trades, from the journal and from a store of candles beside it.

    from pumpwatch.market import open_market

    with open_market("config/pumpwatch.yaml") as market:
        frame = market.get_candles("SOMI", "5m", exchange="binance").to_pandas()

It only reads, so it does not disturb a running collector. Modules are loaded on first use.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pumpwatch.market.opened import OpenMarket

__all__ = ["open_market"]


def open_market(config_file: str | Path | None = None, data: str | Path | None = None) -> OpenMarket:
    """Open the market data of a config file (None: the defaults). data: another data folder. Close it, or use it in `with`.

    Raises ConfigError for an invalid config. By default only get_ticker and get_orderbook send requests to venues.
    """
    from pumpwatch.config import load
    from pumpwatch.market.opened import OpenMarket

    config = load(None if config_file is None else Path(config_file))
    if data is not None:
        config.store.dir = str(Path(data).absolute())
    return OpenMarket(config)
