"""Ctrl-C ends a repeated command with 0, and whatever goes wrong ends it too."""

from __future__ import annotations

import pytest

from pumpwatch.commands.repeat import FIRST_SCREEN, repeat, watch
from pumpwatch.errors import ServiceUnavailable


class Steps:
    """Counts its calls and ends as a script says."""

    def __init__(self, number: int, end: type[BaseException] | Exception = KeyboardInterrupt) -> None:
        self.left, self.end, self.made = number, end, 0

    def __call__(self) -> list[str]:
        if self.made == self.left:
            raise self.end
        self.made += 1
        return [f"line {self.made}"]


def test_an_interrupt_is_the_usual_end() -> None:
    steps = Steps(3)
    assert repeat(steps, 0.0) == 0 and steps.made == 3  # type: ignore[arg-type]


def test_an_error_ends_it_as_an_error() -> None:
    with pytest.raises(ServiceUnavailable):
        repeat(Steps(1, ServiceUnavailable("no collector runs")), 0.0)  # type: ignore[arg-type]


def test_without_a_terminal_each_look_follows_the_one_before(capsys: pytest.CaptureFixture[str]) -> None:
    assert watch(Steps(2), 0.0) == 0
    assert capsys.readouterr().out == "line 1\n\nline 2\n\n"


def test_a_terminal_is_put_back_and_keeps_the_last_look(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with pytest.raises(ServiceUnavailable):
        watch(Steps(2, ServiceUnavailable("it ended")), 0.0)
    assert capsys.readouterr().out.endswith(FIRST_SCREEN + "line 2\n")
