"""Repeat a step until Ctrl-C, which ends it without an error."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence

from pumpwatch.errors import EXIT_OK

HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
OTHER_SCREEN, FIRST_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


def repeat(step: Callable[[], None], every_s: float) -> int:
    """Call `step` with pauses of `every_s` until Ctrl-C, then return exit code 0. Errors of `step` are raised."""
    try:
        while True:
            step()
            time.sleep(every_s)
    except KeyboardInterrupt:
        return EXIT_OK


def watch(lines: Callable[[], Sequence[str]], every_s: float) -> int:
    """Show lines and refresh them in place until Ctrl-C; the last lines stay. Without a terminal they follow each other."""
    if not sys.stdout.isatty():
        return repeat(lambda: print(*lines(), "", sep="\n", flush=True), every_s)
    last: Sequence[str] = ()

    def step() -> None:
        nonlocal last
        last = lines()
        shown = last[: max(1, shutil.get_terminal_size().lines - 1)]
        sys.stdout.write(HOME + "".join(f"{line}{CLEAR_LINE}\n" for line in shown) + CLEAR_BELOW)
        sys.stdout.flush()

    sys.stdout.write(OTHER_SCREEN)
    try:
        return repeat(step, every_s)
    finally:
        sys.stdout.write(FIRST_SCREEN + "".join(f"{line}\n" for line in last))
        sys.stdout.flush()
