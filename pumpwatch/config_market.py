"""The section `market`: candles, which a process beside the collector computes from recorded trades."""

from __future__ import annotations

from pumpwatch.config_section import Count, NotNegative, Section


class MarketConfig(Section):
    """The market data. A retention of 0 days keeps candles forever."""

    enabled: bool = True
    history: bool = True
    history_days: NotNegative = 1.0
    minute_days: Count = 30
    quarter_days: Count = 90  # 5m and 15m
    hour_days: Count = 0  # 1h and longer
    cache_mb: NotNegative = 32.0  # on disk, for tickers and again for order books; 0: in memory only
