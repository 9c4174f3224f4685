"""Carry out a list of steps. One that fails ends it: the error says which steps were done, and they are undone in reverse."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pumpwatch.errors import PumpWatchError
from pumpwatch.host.machine import StepFailed
from pumpwatch.host.steps import Step

Say = Callable[[str], None]


def show(steps: Sequence[Step], say: Say) -> None:
    """Say each step, and which of them has nothing to do; change nothing."""
    for step in steps:
        try:
            needed = step.needed()
        except PermissionError:
            say(f"{step.describe()}  # where needed: only root can see that")
            continue
        say(step.describe() if needed else f"# nothing to do: {step.describe()}")


def carry_out(steps: Sequence[Step], say: Say) -> int:
    """Do the steps that are needed, and return how many that were.

    Raises StepFailed after undoing what was done, and names what could not be undone. Ctrl-C undoes it as well. If only the
    removal of what was replaced fails, all steps stay done, and StepFailed says so.
    """
    done: list[Step] = []
    for step in steps:
        if not step.needed():
            continue
        say(step.describe())
        done.append(step)
        try:
            step.do()
        except (OSError, PumpWatchError) as error:
            raise _undone(done, error, say) from error
        except KeyboardInterrupt:
            _undo(done, say)
            raise
    left = _settle(done)
    if left:
        raise StepFailed("all steps are done, but what they replaced could not be removed: " + "; ".join(left),
                         "remove it yourself; nothing needs it any more")
    return len(done)


def _settle(done: Sequence[Step]) -> list[str]:
    """Remove what the steps have replaced; return a sentence for each that refuses."""
    left = []
    for step in done:
        try:
            step.settle()
        except (OSError, PumpWatchError) as error:
            left.append(f"`{step.describe()}` ({error})")
    return left


def _undone(done: Sequence[Step], error: OSError | PumpWatchError, say: Say) -> StepFailed:
    left = _undo(done, say)
    before = len(done) - 1
    message = f"step {len(done)} failed: {error}"
    if left:
        return StepFailed(message, "could not be undone, please do: " + "; ".join(left))
    undone = {0: "nothing has changed", 1: "the step before it is undone"}
    return StepFailed(message, undone.get(before, f"the {before} steps before it are undone"))


def _undo(done: Sequence[Step], say: Say) -> list[str]:
    """Undo steps in reverse; return a sentence for each that could not be undone."""
    left = []
    for step in reversed(done):
        say(f"undo: {step.describe()}")
        try:
            step.undo()
        except (OSError, PumpWatchError) as error:
            left.append(f"the opposite of `{step.describe()}` ({error})")
    return left
