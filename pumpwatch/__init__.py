"""PumpWatch records every public trade around new listings.

A plugin author may rely on the names in `__all__`; everything else may change.
The names are loaded on first use, so that `import pumpwatch` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pumpwatch.errors import ServiceUnavailable as ServiceUnavailable  # so that it can be a base
    from pumpwatch.hook_marker import hookimpl as hookimpl  # so that a decorated hook keeps its types
    from pumpwatch.listing.board_lists import pair_markets as pair_markets  # so that return types are known
    from pumpwatch.listing.board_lists import rows_of as rows_of
    from pumpwatch.strategy import Strategy as Strategy  # so that it can be a base
    from pumpwatch.venue import ascending_candles as ascending_candles
    from pumpwatch.venue import tickers_at as tickers_at

__version__ = "0.1.0"

_HOMES = {
    "pumpwatch.model": (
        "BUY", "FUTURES", "NO_SEQUENCE", "SELL", "SPOT", "Columns", "Control", "ControlKind", "Flag", "IdKind", "Instrument",
        "Listing", "Notice", "QuantityUnit", "TradeBatch",
    ),
    "pumpwatch.sink_abilities": (
        "AdvisingSink", "BackedUpSink", "BackupPart", "CountingSink", "DescribedSink", "DroppingSink", "HeldBackup",
        "JudgeRows", "KeepingSink", "OpenPart", "Readable", "ServerFacts", "StoredDay", "SummingSink", "TrialSink",
    ),
    "pumpwatch.venue": (
        "AggregatedHistory", "Candle", "Candles", "Heartbeat", "HistoryDepth", "HistoryQuery", "HttpRequest", "Limits",
        "OrderBooks", "Session", "Tickers", "Venue", "Volumes", "ascending_candles", "tickers_at",
    ),
    "pumpwatch.order_book": ("OrderBook", "book_reader"),
    "pumpwatch.ticker": ("Ticker", "ticker_reader"),
    "pumpwatch.catalogue": ("Catalogue", "split_multiplier"),
    "pumpwatch.errors": ("BadFrame", "ConfigError", "PumpWatchError", "ServiceUnavailable", "UsageError"),
    "pumpwatch.hookspecs": (
        "Keeping", "ListingEvent", "ListingSource", "Market", "MarketSource", "MessageSocket", "NoticeBody", "Pace", "PushLink",
        "PushSource", "Sink", "SinkPlugin", "Verdict", "WriteResult",
    ),
    "pumpwatch.hook_marker": ("hookimpl",),
    "pumpwatch.strategy": ("Broker", "Fill", "SeenTrade", "Strategy", "StrategyPlugin"),
    "pumpwatch.plugin_kit.contract": ("check_venue",),
    "pumpwatch.plugin_kit.results": ("Check",),
    "pumpwatch.plugin_kit.recorder": ("read_recording",),
    "pumpwatch.listing.board_lists": ("bare_list", "pair_markets", "rows_of", "time_ns"),
    "pumpwatch.listing.title_verdict": ("judge",),
    "pumpwatch.listing.title_grammar": ("TitleGrammar",),
    "pumpwatch.net.proxy": ("proxy_to",),
    "pumpwatch.net.texts": ("masked", "shown_address"),
    "pumpwatch.pipeline.decode": ("Decoder",),
    "pumpwatch.sim.board_dialect": ("Board", "BoardDialect", "Post", "PushDialect"),
    "pumpwatch.sim.dialect": (
        "ClientSession", "Coin", "Dialect", "History", "Message", "Meter", "MinuteBar", "Past", "Reply", "Stamp",
        "TapeTrade", "Rules",
    ),
    "pumpwatch.sim.market_list": ("market_board",),
    "pumpwatch.sim.http_messages": ("HttpCall", "HttpReply"),
    "pumpwatch.sim.book": ("MadeBook",),
    "pumpwatch.sim.ticker": ("MadeTicker",),
    "pumpwatch.sim.history": ("aggregate",),
    "pumpwatch.sim.rows": ("VOID", "Rows", "SymbolSpec"),
    "pumpwatch.sim.ground_truth": ("id_number",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_RENAMED = {"Wording": "TitleGrammar"}  # old names that plugins may still import

__all__ = ["__version__", *sorted([*_HOME_OF, *_RENAMED])]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    name = _RENAMED.get(name, name)
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'pumpwatch' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
