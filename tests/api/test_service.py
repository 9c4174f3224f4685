"""The API at its address: taken, freed, stopped."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import gevent
import pytest

from pumpwatch.api import service
from pumpwatch.api.access import access_of
from pumpwatch.api.service import Service
from tests.api.desk import config_of, desk_of


def test_a_taken_port_is_told_once_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, "pumpwatch.api.service")
    monkeypatch.setattr(service, "AGAIN_S", 0.02)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        config = config_of(tmp_path, listen=f"127.0.0.1:{port}")
        access = access_of(config)
        assert access is not None
        running = Service(desk_of(config), access)
        body = gevent.spawn(running.run)
        gevent.sleep(0.3)
        assert running.url == ""
    deadline = gevent.get_hub().loop.now() + 30
    while not running.url and gevent.get_hub().loop.now() < deadline:
        gevent.sleep(0.01)
    assert running.url == f"http://127.0.0.1:{port}/"
    running.stop()
    body.join(10)
    assert body.dead and running.url == ""
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and "page not available, recording goes on" in warnings[0]
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.INFO] == [
        f"page http://127.0.0.1:{port}/"]
