"""The sections of listings and channels have the defaults that the sample file shows."""

from __future__ import annotations

import msgspec
import pytest

from pumpwatch.config_listing import EVENTS, ChannelConfig, ListingConfig, SourceConfig, WindowConfig


def test_the_default_window_is_twenty_seconds_on_each_side_and_no_longer_one_is_set() -> None:
    listing = ListingConfig()
    assert (listing.before_s, listing.after_s, listing.longer_windows) == (20.0, 20.0, [])
    assert listing.sources and all(part == SourceConfig() for part in listing.sources.values())


def test_a_channel_is_told_of_everything_unless_it_says_otherwise() -> None:
    assert ChannelConfig().events == list(EVENTS) and ChannelConfig().events is not ChannelConfig().events


@pytest.mark.parametrize(("kind", "given"), [
    (WindowConfig, {"before_s": -1, "after_s": 5}), (WindowConfig, {"before_s": 1, "after_s": 0}),
    (WindowConfig, {"before_s": 1}),
    (ChannelConfig, {"events": ["sold"]}), (ChannelConfig, {"timeout_s": 0}), (ListingConfig, {"fresh_s": 0}),
    (SourceConfig, {"interval": 1})])
def test_a_value_out_of_range_and_an_unknown_key_are_rejected(kind: type, given: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, kind)
