"""On SIGHUP the config is read again: what can change does, the rest is named, and a wrong config changes nothing."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pumpwatch.app.collector import Collector
from pumpwatch.app.reloading import Reloading, changed_keys, is_applied
from pumpwatch.config import Config, load
from pumpwatch.config_listing import ChannelConfig
from pumpwatch.config_log import LogConfig
from pumpwatch.errors import ConfigError
from pumpwatch.ops.logs import set_levels
from pumpwatch.sim.process import SimProcess
from tests.app.collector import CollectorProcess


@pytest.fixture(autouse=True)
def root(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Keep the log as it was; lines are caught whatever the handlers are."""
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    logger.setLevel(logging.INFO)
    yield
    set_levels(LogConfig())
    logger.handlers[:], logger.level = handlers, level


class File:
    """A config file that the test writes again and again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "pumpwatch.yaml"

    def read(self) -> Config:
        return load(self.path, {})


@pytest.fixture
def file(tmp_path: Path) -> File:
    made = File(tmp_path)
    made.path.write_text("log: {level: info}\n")
    return made


@pytest.fixture
def reloading(collector: Collector, file: File) -> Reloading:
    return Reloading(collector, file.read(), file.read)


def test_what_can_change_changes_and_the_rest_is_named_once(
        reloading: Reloading, collector: Collector, file: File, caplog: pytest.LogCaptureFixture) -> None:
    file.path.write_text("log: {levels: {feeds: debug}}\nnet: {sweep_ms: 5}\nstore: {retention_hours: 24, commit_ms: 50}\n"
                         "disk: {emergency_days: 20}\nmemory: {limit_mb: 300}\nlisting: {after_s: 40}\n"
                         "notify: {script: {command: [cat]}}\n")
    reloading.reload()
    config = collector.config
    assert logging.getLogger("pumpwatch.feeds").level == logging.DEBUG
    assert (config.store.retention_hours, config.disk.emergency_days, config.listing.after_s) == (24, 20, 40)
    assert collector.memory.limit_bytes == 300_000_000
    assert [row["name"] for row in collector.notifying.notifier.status()] == ["script"]
    assert config.net.sweep_ms == 10 and config.store.commit_ms == 90
    (named,) = [message for message in caplog.messages if "next start" in message]
    assert named == "config read again, these keys change at the next start keys=net.sweep_ms, store.commit_ms"
    reloading.reload()
    assert caplog.text.count("next start") == 1 and "changed=nothing" in caplog.messages[-1]


@pytest.mark.parametrize("wrong", [
    "log: {level: loud}\n", "notify: {x: {}}\nlog: {levels: {feeds: debug}}\n",
    "log: {folder: /proc/nothing}\ndisk: {cold_days: 26}\n"])
def test_a_wrong_config_changes_nothing_and_is_told_once(
        reloading: Reloading, collector: Collector, file: File, caplog: pytest.LogCaptureFixture, wrong: str) -> None:
    file.path.write_text(wrong)
    reloading.reload()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert caplog.messages[0].startswith("config rejected, the one before stays reason=")
    assert logging.getLogger("pumpwatch.feeds").level == logging.NOTSET and collector.config.disk.cold_days == 30
    assert collector.notifying.notifier.status() == []


def test_a_key_is_found_by_its_path() -> None:
    old, new = Config(), Config(sinks={"questdb": {"addr": "a:1"}}, symbols_file="x")
    assert list(changed_keys(old, new)) == ["symbols_file", "sinks.questdb"]
    assert not is_applied("sinks.questdb") and is_applied("notify.phone.url") and not is_applied("log.summary_s")
    assert is_applied("listing.longer_windows") and not is_applied("listing.archive_dir")


def test_a_channel_that_is_wrong_leaves_the_others_alone(collector: Collector) -> None:
    before = collector.notifying.notifier
    wrong = Config()
    wrong.notify = {"x": ChannelConfig()}
    with pytest.raises(ConfigError):
        collector.notifying.replace_channels(wrong)
    assert collector.notifying.notifier is before


def test_a_running_collector_reads_its_config_again_on_sighup_and_goes_on(tmp_path: Path) -> None:
    with SimProcess(symbols=3, rate=200.0, folder=str(tmp_path / "venues"), venues=["binance.spot"]) as sim, \
            CollectorProcess(sim, tmp_path) as collector:
        collector.wait_until_up()
        text = collector.config_file.read_text()
        collector.config_file.write_text(f"{text}\nmemory: {{limit_mb: 900}}\nroster_refresh_s: 77\n")
        pid = collector.figures()["pid"]
        os.kill(pid, signal.SIGHUP)
        collector.wait_for_log("these keys change at the next start keys=roster_refresh_s")
        collector.wait_for_log("config read again changed=memory.limit_mb")
        collector.config_file.write_text("log: {level: loud}\n")
        os.kill(pid, signal.SIGHUP)
        collector.wait_for_log("config rejected, the one before stays")
        assert collector.stop() == 0, collector.log()
