"""Options that several commands have."""

from __future__ import annotations

import pytest

from pumpwatch.commands.options import refuse_unknown, with_config
from pumpwatch.config import Config
from pumpwatch.errors import UsageError


def test_an_exchange_or_market_that_is_not_known_is_answered_with_the_known_ones() -> None:
    known = [("okx", "spot"), ("gate", "futures")]
    refuse_unknown(known, "okx", "spot")
    refuse_unknown(known, None, "futures")
    with pytest.raises(UsageError, match="no exchange `kraken`") as caught:
        refuse_unknown(known, "kraken")
    assert caught.value.hint == "known: gate, okx"
    with pytest.raises(UsageError, match="no exchange `okx` with a market `futures`") as caught:
        refuse_unknown(known, "okx", "futures")
    assert caught.value.hint == "known: gate, okx spot"


def test_without_a_config_file_no_option_is_repeated() -> None:
    assert with_config(Config()) == ""
