"""Each error says by its class what to do."""

from __future__ import annotations

import pytest

from pumpwatch.accounts import refusals
from pumpwatch.errors import EXIT_CONFIG, EXIT_DISK, EXIT_UNAVAILABLE, EXIT_USAGE, PumpWatchError


@pytest.mark.parametrize(("kind", "code"), [
    (refusals.Overdraft, EXIT_USAGE), (refusals.UnknownId, EXIT_USAGE), (refusals.ConflictError, EXIT_UNAVAILABLE),
    (refusals.NewerLedgerError, EXIT_CONFIG), (refusals.DamagedLedgerError, EXIT_DISK),
])
def test_an_error_has_its_exit_code(kind: type[PumpWatchError], code: int) -> None:
    assert kind("words").exit_code == code
    assert issubclass(kind, refusals.LedgerRefusal) == (code == EXIT_USAGE)
