"""The sections `listing` and `notify`: listing sources, archive windows, and channels for messages."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from pumpwatch.config_section import Folder, NotNegative, Positive, Section

EVENTS: tuple[Literal["seen", "archived", "alert"], ...] = ("seen", "archived", "alert")  # that a channel can get


class SourceConfig(Section):
    enabled: bool = True
    url: str = ""
    interval_s: NotNegative = 0.0  # 0: the source's own pace, by the hour
    options: dict[str, Any] = {}  # of a push source, see `source_options`


class WindowConfig(Section):
    """The time around the publication of a listing, and around its detection."""

    before_s: NotNegative
    after_s: Positive


class ListingConfig(Section):
    before_s: NotNegative = 20.0
    after_s: Positive = 20.0
    longer_windows: list[WindowConfig] = []  # each completes the archive when it ends
    fresh_s: Positive = 600.0
    archive_dir: Folder = "data"
    doubled: bool = True  # two connections of each venue read the coin of an open window
    sources: dict[str, SourceConfig] = msgspec.field(default_factory=lambda: {
        name: SourceConfig() for name in (
            "upbit", "upbit_markets", "upbit_announcements", "bithumb", "bithumb_markets", "own_signals")})


class ChannelConfig(Section):
    """A channel for messages about listings and alerts: set exactly one of `url`, `webhook` and `command`."""

    url: str = ""
    webhook: str = ""
    secret: str = ""
    command: list[str] = []
    events: list[Literal["seen", "archived", "alert"]] = msgspec.field(default_factory=lambda: list(EVENTS))
    drills: bool = True
    timeout_s: Positive = 10.0
