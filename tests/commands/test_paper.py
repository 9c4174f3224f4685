"""The group `pumpwatch paper`."""

from __future__ import annotations

import pytest

from pumpwatch.cli import run
from pumpwatch.errors import EXIT_OK, EXIT_USAGE


def test_the_group_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["paper", "--help"]) == EXIT_OK
    out = capsys.readouterr().out
    assert all(f"\n  {name}" in out for name in ("accounts", "orders", "positions", "events", "check"))
    assert "No order leaves this machine" in out
    assert run(["paper", "real"]) == EXIT_USAGE
