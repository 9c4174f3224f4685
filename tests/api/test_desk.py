"""What the API sees of a collector."""

from __future__ import annotations

import threading

import pytest

from pumpwatch.api.desk import Desk
from pumpwatch.errors import StorageError


def test_work_runs_in_a_native_thread_and_its_error_reaches_the_caller(desk: Desk) -> None:
    assert desk.offload(threading.get_native_id) != threading.get_native_id()

    def fail() -> None:
        raise StorageError("gone")

    with pytest.raises(StorageError, match="gone"):
        desk.offload(fail)
