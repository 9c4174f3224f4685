"""collect: words that exclude each other or name nothing end before anything runs."""

from __future__ import annotations

import pytest

from tests.ops.command_line import CommandLine


@pytest.mark.parametrize(("words", "says"), [
    (("--exchange", "binanse"), "pumpwatch: --exchange binanse: no plugin offers it\n  did you mean `binance`? offered: binance"),
    (("--exchange", "okx", "--coin", "PE/PE"), "pumpwatch: `PE/PE` is not a coin")])
def test_collect_names_an_exchange_or_coin_that_cannot_be_meant(command: CommandLine, words: tuple[str, ...], says: str) -> None:
    done = command("collect", *words)
    assert done.returncode == 2 and done.stderr.startswith(says)


def test_collect_of_an_exchange_that_the_config_switches_off_ends_with_78(command: CommandLine) -> None:
    done = command("collect", "--exchange", "okx", env={"PUMPWATCH_EXCHANGES__OKX__ENABLED": "false"})
    assert done.returncode == 78 and "no venue is enabled" in done.stderr
