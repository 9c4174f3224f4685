"""A call's errors and its effects outside are observed."""

from __future__ import annotations

import threading
from pathlib import Path

from pumpwatch.errors import BadFrame
from pumpwatch.plugin_kit import sandbox
from pumpwatch.plugin_kit.sandbox import attempt, watch_effects


def raises(error: Exception) -> None:
    raise error


def test_a_call_gives_its_value_or_its_error_with_the_place() -> None:
    assert attempt(int, "7").value == 7 and attempt(int, "7").message() == ""
    rejected, broken = attempt(raises, BadFrame("no")), attempt(raises, OSError("two\nlines"))
    assert (rejected.refused, rejected.broke) == (True, False)
    assert (broken.refused, broken.broke) == (False, True)
    assert broken.message().startswith("OSError: two") and "(test_sandbox.py:" in broken.message()
    assert "\n" not in broken.message()


def test_only_this_threads_effects_are_collected_and_only_while_it_watches(tmp_path: Path) -> None:
    with watch_effects() as effects:
        thread = threading.Thread(target=lambda: (tmp_path / "theirs").write_text("x"))
        thread.start()
        thread.join()
    assert not [effect for effect in effects if "theirs" in effect]
    with watch_effects() as effects:
        (tmp_path / "ours").write_text("x")
        print("hello")
    assert [effect for effect in effects if "ours" in effect] and "print 'hello'" in effects
    (tmp_path / "later").write_text("x")
    assert not [effect for effect in sandbox._audit.effects if "later" in effect]
