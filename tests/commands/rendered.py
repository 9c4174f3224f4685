"""Check lines against the rules that hold for every table at every width."""

from __future__ import annotations

from collections.abc import Sequence

from pumpwatch.commands.table import text_width


def check_lines(lines: Sequence[str], width: int) -> str:
    """Fail where a line is wider than the terminal or steers it; return the text."""
    for line in lines:
        assert text_width(line) <= width, f"{text_width(line)} columns: {line}"
        assert line.isprintable() and line == line.rstrip(), line
    return "\n".join(lines)
