"""The section `log`: levels, format and files of the log."""

from __future__ import annotations

from typing import Literal

from pumpwatch.config_errors import ConfigSource
from pumpwatch.config_section import NotNegative, Positive, PositiveInt, Section
from pumpwatch.errors import ConfigError

Level = Literal["debug", "info", "warning", "error"]


class LogConfig(Section):
    level: Level = "info"
    levels: dict[str, Level] = {}  # by part, such as feeds or store.drain
    format: Literal["text", "json"] = "text"
    folder: str = ""  # empty: stderr alone
    file_mb: Positive = 100.0
    files: PositiveInt = 14
    file_hours: NotNegative = 24.0  # 0: by size alone
    summary_s: Positive = 60.0
    slow_query_ms: NotNegative = 1000.0


def check_log(log: LogConfig, source: ConfigSource) -> None:
    """Raise ConfigError for a key of `log.levels` that cannot be the name of a package or module."""
    for part in log.levels:
        if not part.replace("_", "").replace(".", "").isalnum():
            key = f"log.levels.{part}"
            raise ConfigError(f"{source.at('log.levels')}: {key}: not the name of a part",
                              "a part is a package or module, such as feeds or store.drain")
