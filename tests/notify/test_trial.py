"""Every channel is tried at once, and each result stands by itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pumpwatch.config import Config
from pumpwatch.errors import ConfigError, UsageError
from pumpwatch.notify.trial import try_channels
from tests.notify.configured import SECRET, config_of
from tests.notify.web_service import WebService


def test_each_channel_gets_a_drill_and_has_its_own_result(tmp_path: Path) -> None:
    with WebService() as service:
        hook = {"webhook": f"http://{service.address}/", "secret": SECRET, "events": [], "drills": False}
        config = config_of(tmp_path, hook=hook, broken={"command": [sys.executable, "-S", "-c", "import sys; sys.exit(4)"]})
        results = try_channels(config)
        assert [(result.name, result.kind, result.taken, result.reason) for result in results] == [
            ("hook", "webhook", True, ""), ("broken", "command", False, "exit code 4")]
        assert [result.name for result in try_channels(config, ["hook"])] == ["hook"]
    said = json.loads(service.posts[0][1])
    assert (said["kind"], said["drill"], said["coin"]) == ("test", True, "TEST")


def test_a_config_without_channels_and_a_name_that_is_none_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names no channel"):
        try_channels(Config())
    with pytest.raises(UsageError, match=r"no channel `phon`.*known: phone"):
        try_channels(config_of(tmp_path, phone={"command": ["true"]}), ["phon"])
