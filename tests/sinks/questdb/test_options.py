"""The options of the QuestDB sink: what cannot work is found when the config is read."""

from __future__ import annotations

import pytest
from pumpwatch_plugins.sinks.questdb import QuestDBOptions

from pumpwatch.config import Config, options_of
from pumpwatch.errors import ConfigError


def test_unknown_and_impossible_options_are_config_errors() -> None:
    for options, word in (({"adr": "x"}, "did you mean `addr`"), ({"ttl_days": -1}, "ttl_days"),
                          *(({"addr": addr}, "config: sinks.questdb: addr must be HOST:PORT") for addr in (
                              "127.0.0.1:nope", "localhost", "http://localhost:9000", "::1", "db:0", "db:70000", "a b:9000", "")),
                          ({"table_prefix": "a;b"}, "table_prefix")):
        with pytest.raises(ConfigError, match=word):
            options_of(Config(sinks={"questdb": options}), "sinks", "questdb", QuestDBOptions)
    for addr in ("db.example.com:9000", "[::1]:9000", "10.0.0.7:443"):
        assert QuestDBOptions(addr=addr).addr == addr
