"""Fixtures of the commands: they run in the test's own process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ops.command_line import CommandLine


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    """Run `pumpwatch ARGS...` in an empty folder, without a process of its own; the log is as it was afterwards."""
    monkeypatch.delenv("COLUMNS", raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield CommandLine(tmp_path, capsys, monkeypatch)
    root.handlers[:] = handlers
    root.setLevel(level)
