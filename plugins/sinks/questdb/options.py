"""The settings of the QuestDB sink: the section `sinks.questdb` of the config."""

from __future__ import annotations

import re

import msgspec

from pumpwatch import shown_address

ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s\[\]/:@?#]+):([0-9]{1,5})")  # [::1]:9000 too


class QuestDBOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """`sinks.questdb` of the config."""

    addr: str = "127.0.0.1:9000"
    user: str = ""
    password: str = ""
    tls: bool = False
    ca_file: str = ""
    table_prefix: str = ""  # before trades, exchange_health, listing_events, candles_1m, candles_5m
    ttl_days: int = 30  # 0: keep forever
    candles: bool = True
    request_timeout_ms: int = 3000
    data_dir: str = ""  # the folder of a server on this machine that does not report it

    def __post_init__(self) -> None:
        address = ADDRESS.fullmatch(self.addr)
        if not address or not 0 < int(address[1]) < 65_536:
            raise ValueError(f"addr must be HOST:PORT, such as 127.0.0.1:9000, not {shown_address(self.addr)}")
        if not re.fullmatch(r"[A-Za-z0-9_]*", self.table_prefix):
            raise ValueError("table_prefix may hold letters, digits and _ only")
        if self.ttl_days < 0 or self.request_timeout_ms <= 0:
            raise ValueError("ttl_days must be >= 0 and request_timeout_ms > 0")

    @property
    def url(self) -> str:
        """The server's address as a URL."""
        return f"{'https' if self.tls else 'http'}://{self.addr}"
