"""New chunks are as long as the volume wants, without going to and fro. The real extension is asked in test_timescale.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pumpwatch_plugins.sinks.postgres.chunks import INTERVAL, LARGE_DAY_BYTES, NEWEST, POLICY, fit_chunks, set_retention

HOUR_BYTES = LARGE_DAY_BYTES / 24


class Answers:
    """A server that answers what the test says, and keeps what it was told."""

    def __init__(self, **found: Any) -> None:
        self._found = {NEWEST: [], **{{"interval": INTERVAL, "newest": NEWEST, "policy": POLICY}[name]: rows
                                      for name, rows in found.items()}}
        self.told: list[Sequence[Any]] = []

    def rows(self, statement: str, values: Sequence[Any] = ()) -> Any:
        if statement not in self._found:
            self.told.append((statement.split("(", maxsplit=1)[0], *values[1:]))
        return self._found.get(statement, [])


@pytest.mark.parametrize(("now_h", "newest", "wanted"), [
    (24, [], 24), (1, [], 1), (24, [(LARGE_DAY_BYTES * 1.01, 24)], 1), (1, [(HOUR_BYTES * 1.01, 1)], 1),
    (1, [(HOUR_BYTES * 0.6, 1)], 1), (24, [(LARGE_DAY_BYTES * 0.6, 24)], 24), (1, [(HOUR_BYTES * 0.4, 1)], 24),
    (24, [(None, 24)], 24)])
def test_the_newest_whole_chunk_decides(now_h: int, newest: list[Any], wanted: int) -> None:
    server = Answers(interval=[(now_h,)], newest=newest)
    assert fit_chunks(server, "s") == wanted  # type: ignore[arg-type]
    assert server.told == ([] if wanted == now_h else [("SELECT set_chunk_time_interval", wanted)])


def test_the_options_decide_where_they_say_something() -> None:
    server = Answers(interval=[(24,)], newest=[(1, 24)])
    assert fit_chunks(server, "s", 6) == 6 and server.told == [("SELECT set_chunk_time_interval", 6)]  # type: ignore[arg-type]


@pytest.mark.parametrize(("found", "days", "told"), [
    ([(90,)], 90, []), ([], 0, []), ([(90,)], 0, ["remove"]), ([], 30, ["remove", "add"]), ([(90,)], 30, ["remove", "add"])])
def test_the_policy_is_replaced_where_it_differs(found: list[Any], days: int, told: list[str]) -> None:
    server = Answers(policy=found)
    set_retention(server, "s", days)  # type: ignore[arg-type]
    assert [str(name).split("_")[0].removeprefix("SELECT ") for name, *_ in server.told] == told
