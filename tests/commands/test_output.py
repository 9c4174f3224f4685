"""Nothing that commands print steers a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.cli import pumpwatch, run
from pumpwatch.commands.output import print_line, print_message, print_table, program, shown, terminal_width
from pumpwatch.errors import ServiceUnavailable

HOSTILE = "no\n\x1b]0;title\x07\x9b2J"


def test_cells_lines_and_data_are_made_printable(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", "b"), [(HOSTILE, HOSTILE), f"a remark {HOSTILE}"])
    print_line(HOSTILE)
    print_message("first", HOSTILE)
    printed = capsys.readouterr()
    for line in (printed.out + printed.err).splitlines():
        assert line.isprintable()
    assert printed.out.count(r"no\n\x1b]0;title\x07\x9b2J") == 4
    assert printed.err.splitlines() == ["first", r"no\n\x1b]0;title\x07\x9b2J"]
    assert shown({"a": ["x\x1b", 3, None]}) == {"a": [r"x\x1b", 3, None]}


def test_an_error_is_printed_as_a_line_and_its_hint_as_another(
        capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> int:
        raise ServiceUnavailable(f"it says {HOSTILE}", "ask it\ragain")

    monkeypatch.setattr(pumpwatch.commands["status"], "callback", refuse)
    assert run(["status"]) == 69
    assert capsys.readouterr().err.splitlines() == [r"pumpwatch: it says no\n\x1b]0;title\x07\x9b2J", r"  ask it\ragain"]


@pytest.mark.parametrize(("columns", "width"), [("120", 120), ("", 80), ("wide", 80), ("0", 80), ("3", 20)])
def test_a_table_that_goes_to_a_file_is_80_wide_unless_columns_says_otherwise(
        monkeypatch: pytest.MonkeyPatch, columns: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal_width() == width


def test_no_line_on_stderr_is_longer_than_200_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_message("word " * 300 + "end")
    lines = capsys.readouterr().err.splitlines()
    assert max(map(len, lines)) <= 200 and " ".join(" ".join(lines).split()) == "word " * 300 + "end"


def test_a_program_that_is_not_on_the_path_is_named_by_where_it_is(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "bin" / "pumpwatch"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(script), "demo"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert program() == "bin/pumpwatch"
    monkeypatch.setenv("PATH", str(script.parent))
    assert program() == "pumpwatch"
    monkeypatch.setattr("sys.argv", [str(tmp_path / "__main__.py")])
    assert program().endswith("-m pumpwatch")
