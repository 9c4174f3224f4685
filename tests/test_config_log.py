"""The section of the log names parts that can exist."""

from __future__ import annotations

import pytest

from pumpwatch.config_errors import ConfigSource
from pumpwatch.config_log import LogConfig, check_log
from pumpwatch.errors import ConfigError


def test_a_part_that_cannot_exist_is_refused() -> None:
    check_log(LogConfig(levels={"feeds": "debug", "store.drain": "info"}), ConfigSource("config"))
    with pytest.raises(ConfigError, match="not the name of a part"):
        check_log(LogConfig(levels={"feeds/venue": "debug"}), ConfigSource("config"))
