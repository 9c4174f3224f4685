"""The archive of QuestDB's classes never keeps a server of the tests from starting."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import questdb_server


def fetch_prints(jar: Path, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Let packaging/questdb name this jar."""
    script = folder / "questdb"
    script.write_text(f"#!/bin/sh\necho {jar}\n")
    script.chmod(0o755)
    patch.setattr(questdb_server, "SCRIPT", script)


@pytest.mark.parametrize("damage", [b"", b"who", b"whale"])
def test_a_damaged_archive_is_made_again(damage: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (jar := tmp_path / "questdb.jar").touch()
    fetch_prints(jar, tmp_path, monkeypatch)
    made: list[Path] = []

    def archive_classes(archive: Path) -> None:
        archive.write_bytes(b"whole")
        made.append(archive)

    monkeypatch.setattr(questdb_server, "_archive_classes", archive_classes)
    option = questdb_server._shared_classes.__wrapped__()
    assert questdb_server._shared_classes.__wrapped__() == option == f'"-XX:SharedArchiveFile={made[0]}"'
    assert len(made) == 1, "a whole one is taken as it is"
    made[0].write_bytes(damage)
    assert questdb_server._shared_classes.__wrapped__() == option
    assert len(made) == 2 and made[0].read_bytes() == b"whole"


def test_a_folder_that_takes_no_file_leaves_servers_without_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch_prints(Path("/proc/sys/questdb.jar"), tmp_path, monkeypatch)
    assert questdb_server._shared_classes.__wrapped__() == ""
