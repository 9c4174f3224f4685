"""Errors carry a message, a hint and a stable exit code."""

from __future__ import annotations

import pytest

from pumpwatch.errors import (
    REFUSALS,
    BadFrame,
    ConfigError,
    Interrupted,
    PluginError,
    PumpWatchError,
    ServiceUnavailable,
    StorageError,
    UsageError,
)


def test_an_error_reads_as_its_message_and_then_its_hint():
    assert str(ConfigError("no venue is enabled", "name one")) == "no venue is enabled; name one"
    assert str(StorageError("the disk is full")) == "the disk is full"


@pytest.mark.parametrize(("error", "code"), [
    (PumpWatchError, 1), (BadFrame, 1), (UsageError, 2), (ServiceUnavailable, 69), (StorageError, 74), (ConfigError, 78),
    (PluginError, 78), (Interrupted, 130)])
def test_exit_codes_are_those_that_scripts_rely_on(error: type[PumpWatchError], code: int):
    assert error("what happened").exit_code == code


def test_what_a_plugin_may_raise_for_a_bad_frame_is_no_disk_and_no_config():
    assert issubclass(BadFrame, REFUSALS)
    assert not issubclass(StorageError, REFUSALS) and not issubclass(ConfigError, REFUSALS)
