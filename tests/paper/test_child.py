"""A strategy's class is found in its code, and its errors name their line. Its process is in test_sandbox."""

from __future__ import annotations

import os

import pytest

from pumpwatch.paper.child import failure_of, load, send
from pumpwatch.paper.job import Failure, Source

HEAD = "from pumpwatch import Strategy\n"


def source(code: str, class_name: str = "") -> Source:
    return Source(name="mine", file="mine.py", code=HEAD + code, class_name=class_name)


def test_the_one_class_or_the_named_one_is_loaded_anew_each_time() -> None:
    code = "class First(Strategy):\n    seen = []\nclass Second(First): pass\n"
    first, again = (load(source(code, "First")) for _ in range(2))
    assert first.__name__ == "First"
    assert first is not again
    assert load(source("class Mine(Strategy): pass")).__name__ == "Mine"


@pytest.mark.parametrize(("code", "failure"), [
    ("x = 1", Failure("TypeError: it has 0 classes that derive from pumpwatch.Strategy, but must have one")),
    ("class A(Strategy): pass\nclass B(Strategy): pass",
     Failure("TypeError: it has 2 classes that derive from pumpwatch.Strategy, but must have one: A, B")),
    ("\ndef broken(:\n", Failure("SyntaxError: invalid syntax", 3)),
    ("import nothing_of_this_name", Failure("ModuleNotFoundError: No module named 'nothing_of_this_name'", 2, "<module>")),
    ("raise SystemExit", Failure("SystemExit", 2, "<module>")),
    ("class E(Exception):\n    def __str__(self): return 1 / 0\nraise E", Failure("E", 4, "<module>")),
])
def test_code_that_cannot_be_loaded_names_its_line(code: str, failure: Failure) -> None:
    found: Failure | None = None
    try:
        load(source(code))
    except BaseException as error:
        found = failure_of(error, "mine.py")
        if not isinstance(error, (Exception, SystemExit)):
            raise
    assert found == failure


def test_an_answer_that_nobody_waits_for_is_dropped_in_silence() -> None:
    reader, writer = os.pipe()
    try:
        send(writer, b"answer")
        assert os.read(reader, 100) == b"answer"
        os.close(reader)
        send(writer, b"answer")
    finally:
        os.close(writer)
