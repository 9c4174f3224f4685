"""The command line in the test's own process: the same code as `python -m pumpwatch`, without the start of an interpreter."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pumpwatch.cli import run


class CommandLine:
    """Runs `pumpwatch ARGS...` in a folder and returns its exit code and output."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._capsys, self._monkeypatch = folder, capsys, monkeypatch

    def __call__(self, *args: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        words = [str(arg) for arg in args]
        self._capsys.readouterr()
        with self._monkeypatch.context() as patch:
            patch.chdir(self._folder)
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            code = run(words)
        output = self._capsys.readouterr()
        return subprocess.CompletedProcess(words, code, output.out, output.err)
