"""Carry out a list of steps. If one fails, the steps before it are undone in reverse, and the error says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pumpwatch.errors import PumpWatchError
from pumpwatch.host.machine import StepFailed
from pumpwatch.host.steps import HostStep

PrintLine = Callable[[str], None]


def show(steps: Sequence[HostStep], print_line: PrintLine) -> None:
    """Print each step, and which steps have nothing to do; change nothing."""
    for step in steps:
        try:
            needed = step.needed()
        except PermissionError:
            print_line(f"{step.describe()}  # where needed: only root can see that")
            continue
        print_line(step.describe() if needed else f"# nothing to do: {step.describe()}")


def carry_out(steps: Sequence[HostStep], print_line: PrintLine) -> int:
    """Do the steps that are needed, and return their number.

    Raises StepFailed after undoing them; the error names steps that could not be undone. Ctrl-C undoes them as well. If only the
    removal of replaced files fails, all steps stay done, and StepFailed says so.
    """
    done: list[HostStep] = []
    for step in steps:
        if not step.needed():
            continue
        print_line(step.describe())
        done.append(step)
        try:
            step.do()
        except (OSError, PumpWatchError) as error:
            raise _undone(done, error, print_line) from error
        except KeyboardInterrupt:
            _undo(done, print_line)
            raise
    left = _finish(done)
    if left:
        raise StepFailed("all steps are done, but replaced files could not be removed: " + "; ".join(left),
                         "remove them yourself; nothing needs them any more")
    return len(done)


def _finish(done: Sequence[HostStep]) -> list[str]:
    """Remove the files that the steps have replaced; return a sentence for each failure."""
    left = []
    for step in done:
        try:
            step.finish()
        except (OSError, PumpWatchError) as error:
            left.append(f"`{step.describe()}` ({error})")
    return left


def _undone(done: Sequence[HostStep], error: OSError | PumpWatchError, print_line: PrintLine) -> StepFailed:
    left = _undo(done, print_line)
    before = len(done) - 1
    message = f"step {len(done)} failed: {error}"
    if left:
        return StepFailed(message, "could not be undone, please do: " + "; ".join(left))
    undone = {0: "nothing has changed", 1: "the step before it is undone"}
    return StepFailed(message, undone.get(before, f"the {before} steps before it are undone"))


def _undo(done: Sequence[HostStep], print_line: PrintLine) -> list[str]:
    """Undo steps in reverse; return a sentence for each failure."""
    left = []
    for step in reversed(done):
        print_line(f"undo: {step.describe()}")
        try:
            step.undo()
        except (OSError, PumpWatchError) as error:
            left.append(f"the opposite of `{step.describe()}` ({error})")
    return left
