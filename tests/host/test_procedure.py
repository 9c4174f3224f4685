"""Steps are done in order; one that fails ends it, and undoes those before it in reverse."""

from __future__ import annotations

import pytest

from pumpwatch.host.machine import StepFailed
from pumpwatch.host.procedure import carry_out, show
from pumpwatch.host.steps import HostStep


class Scripted(HostStep):
    """A step that keeps a history, shared with others, and fails as told."""

    def __init__(self, name: str, history: list[str], *, needed: bool = True, fails: BaseException | None = None,
                 undo_fails: bool = False, settle_fails: bool = False) -> None:
        self._name, self._history, self._needed, self._fails, self._undo_fails = name, history, needed, fails, undo_fails
        self._settle_fails = settle_fails

    def describe(self) -> str:
        return f"make {self._name}"

    def needed(self) -> bool:
        if isinstance(self._fails, PermissionError):
            raise self._fails
        return self._needed

    def do(self) -> None:
        self._history.append(self._name)
        if self._fails:
            raise self._fails

    def undo(self) -> None:
        self._history.append(f"not {self._name}")
        if self._undo_fails:
            raise OSError("read-only")

    def finish(self) -> None:
        if self._settle_fails:
            raise PermissionError("not permitted")
        self._history.append(f"settled {self._name}")


@pytest.fixture
def history() -> list[str]:
    return []


def test_what_is_needed_is_done_in_order_and_settled_at_the_end(history: list[str]) -> None:
    said: list[str] = []
    steps = [Scripted("a", history), Scripted("b", history, needed=False), Scripted("c", history)]
    assert carry_out(steps, said.append) == 2
    assert history == ["a", "c", "settled a", "settled c"] and said == ["make a", "make c"]


def test_showing_does_nothing(history: list[str]) -> None:
    said: list[str] = []
    show([Scripted("a", history), Scripted("b", history, needed=False),
          Scripted("c", history, fails=PermissionError())], said.append)
    assert said == ["make a", "# nothing to do: make b", "make c  # where needed: only root can see that"] and history == []


def test_a_failure_undoes_all_in_reverse_and_names_the_step(history: list[str]) -> None:
    said: list[str] = []
    steps = [Scripted("a", history), Scripted("b", history), Scripted("c", history, fails=OSError("disk full")),
             Scripted("d", history)]
    with pytest.raises(StepFailed) as caught:
        carry_out(steps, said.append)
    assert history == ["a", "b", "c", "not c", "not b", "not a"]
    assert caught.value.message == "step 3 failed: disk full" and caught.value.hint == "the 2 steps before it are undone"
    assert said[-3:] == ["undo: make c", "undo: make b", "undo: make a"]


def test_what_cannot_be_undone_is_named_and_the_rest_is_undone(history: list[str]) -> None:
    steps = [Scripted("a", history), Scripted("b", history, undo_fails=True), Scripted("c", history, fails=StepFailed("no"))]
    with pytest.raises(StepFailed) as caught:
        carry_out(steps, print)
    assert caught.value.hint == "could not be undone, please do: the opposite of `make b` (read-only)"
    assert history[-1] == "not a"


def test_ctrl_c_undoes_as_well(history: list[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        carry_out([Scripted("a", history), Scripted("b", history, fails=KeyboardInterrupt())], print)
    assert history == ["a", "b", "not b", "not a"]


def test_a_rest_that_cannot_be_removed_is_named_once_and_every_other_is_removed(history: list[str]) -> None:
    steps = [Scripted("a", history, settle_fails=True), Scripted("b", history)]
    with pytest.raises(StepFailed, match=r"all steps are done.*`make a` \(not permitted\)"):
        carry_out(steps, print)
    assert history == ["a", "b", "settled b"], "nothing is undone"


def test_a_first_step_that_fails_has_changed_nothing(history: list[str]) -> None:
    with pytest.raises(StepFailed) as caught:
        carry_out([Scripted("a", history, fails=OSError("disk full"))], lambda _: None)
    assert caught.value.hint == "nothing has changed"
