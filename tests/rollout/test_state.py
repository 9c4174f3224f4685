"""The state of a roll-out survives a restart; a damaged file is named and set aside."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.errors import StorageError
from pumpwatch.rollout.state import FILE, RolloutChange, RolloutState, read_state, set_aside, write_state


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    state = RolloutState(sink="questdb", status="running", percent=50, ran_s=12.5, started_at_ns=7, reason="asked for",
                  changes=[RolloutChange(at_ns=7, status="running", percent=50, reason="asked for")])
    state.answers.add(12.0)
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"sink": "x", "percent": 101}', b'{"sink": "x", "status": "lost"}',
                                     b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_file_is_named_with_what_happens_now(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(StorageError, match="cannot be read") as caught:
        read_state(tmp_path)
    assert FILE in caught.value.message and "sends nothing to the sink" in caught.value.hint
    set_aside(tmp_path)
    assert read_state(tmp_path) is None
    assert (tmp_path / f"{FILE}.damaged").read_bytes() == content


def test_a_disk_that_refuses_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        write_state(tmp_path / "missing", RolloutState(sink="questdb"))
    set_aside(tmp_path / "missing")
