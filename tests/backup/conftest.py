"""Fixtures of the tests of backups: a stored folder, its plan, a bucket, a line that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pumpwatch.backup.plan import BackupPlan, S3Target
from tests.backup.faulty_line import FaultyLine
from tests.ops.command_line import CommandLine
from tests.ops.conftest import stored  # noqa: F401 a fixture
from tests.s3_server import S3Server


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Run `pumpwatch ARGS...` in this process, in an empty folder."""
    return CommandLine(tmp_path, capsys, monkeypatch)


@pytest.fixture
def plan(stored: Path, tmp_path: Path) -> BackupPlan:  # noqa: F811
    """A plan that backs up the stored folder into another one."""
    return BackupPlan(data=str(stored), archives=str(stored), folder=str(tmp_path / "backups"))


@pytest.fixture
def bucket(s3_server: S3Server) -> S3Target:
    """A bucket of this test's own."""
    return s3_server.bucket()


@pytest.fixture
def line(s3_server: S3Server) -> Iterator[FaultyLine]:
    """A line to the S3 server."""
    made = FaultyLine(s3_server.port)
    yield made
    made.close()
