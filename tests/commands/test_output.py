"""What commands print: nothing in it steers a terminal."""

from __future__ import annotations

import pytest

from pumpwatch.cli import pumpwatch, run
from pumpwatch.commands.output import print_rich, print_table, put, say, shown
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.ops import health

HOSTILE = "no\n\x1b]0;title\x07\x9b2J"


def test_cells_lines_and_data_are_made_printable(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", "b"), [(HOSTILE, ["one", HOSTILE])])
    put(HOSTILE)
    say("first", HOSTILE)
    printed = capsys.readouterr()
    for line in (printed.out + printed.err).splitlines():
        assert line.isprintable()
    assert printed.out.count(r"no\n\x1b]0;title\x07\x9b2J") == 3
    assert printed.err.splitlines() == ["first", r"no\n\x1b]0;title\x07\x9b2J"]
    assert shown({"a": ["x\x1b", 3, None]}) == {"a": [r"x\x1b", 3, None]}


@pytest.mark.parametrize("said", ["could not open [/data/db/trades~3/x.d]", "could not append [fd=12, errno=28]", ":x:"])
def test_the_table_of_a_collector_shows_a_sinks_words_as_they_are(capsys: pytest.CaptureFixture[str], said: str) -> None:
    venue = {"exchange": said, "market_type": "spot", "problem": said}
    print_rich(health.table({"version": "[/x]", "pid": 1, "venues": [venue], "sinks": [{"name": said, "state": said}],
                             "listing": {said: {"up": False, "reason": said}}}))
    printed = capsys.readouterr().out
    assert "PumpWatch [/x]" in printed
    assert printed.count(said) >= 6


def test_an_error_is_printed_as_a_line_and_its_hint_as_another(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> int:
        raise ServiceUnavailable(f"it says {HOSTILE}", "ask it\ragain")

    monkeypatch.setattr(pumpwatch.commands["status"], "callback", refuse)
    assert run(["status"]) == 69
    assert capsys.readouterr().err.splitlines() == [r"pumpwatch: it says no\n\x1b]0;title\x07\x9b2J", r"  ask it\ragain"]
