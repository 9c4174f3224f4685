"""A collector as a child process: start, look at its figures, kill, stop."""

from __future__ import annotations

import copy
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import yaml

from pumpwatch.sim.process import SimProcess
from tests.forked import Forked

HANGS_S = 90.0  # a busy machine may take its time; only what never comes is a failure


class CollectorProcess:
    """`pumpwatch collect` against a simulation, its data in `folder/data`, its log in `folder/collector.log`.

    `sections` (or plain keys) are merged into the config. Ended by its own process id.
    """

    def __init__(self, sim: SimProcess, folder: Path, **sections: Any) -> None:
        self.folder, self.data = folder, folder / "data"
        self.config_file = folder / "pumpwatch.yaml"
        config = yaml.safe_load(sim.config_yaml())
        config["store"] = {"dir": str(self.data)}
        config["listing"] |= {"archive_dir": str(folder / "archive")}
        for name, section in sections.items():
            config[name] = {**config.get(name, {}), **section} if isinstance(section, dict) else section
        self.config_file.write_text(yaml.safe_dump(config), "utf-8")
        self.child: Forked | None = None
        self._started_ns = 0

    def start(self, *options: str) -> None:
        """Start it; returns at once."""
        self._started_ns = time.time_ns()
        with (self.folder / "collector.log").open("ab") as log, Path(os.devnull).open("rb") as nothing:
            self.child = Forked(["collect", "-c", str(self.config_file), *options], self.folder,
                                (nothing.fileno(), log.fileno(), log.fileno()))

    def beside(self) -> CollectorProcess:
        """Return another process with the same config, not yet started."""
        other = copy.copy(self)
        other.child = None
        return other

    def figures(self) -> dict[str, Any]:
        """Return this run's figures, empty while it has written none."""
        figures = self.figures_of_any_run()
        return figures if figures and figures["started_at_ns"] >= self._started_ns else {}

    def figures_of_any_run(self) -> dict[str, Any]:
        """Return the figures that a process on this folder wrote last, empty without any."""
        try:
            return dict(json.loads((self.data / "status.json").read_text("utf-8")))
        except (OSError, ValueError):
            return {}

    def wait_until(self, done, within_s: float = HANGS_S) -> dict[str, Any]:
        """Wait until `done(figures)` is true and return them; fail with the log when it never is."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            figures = self.figures()
            if figures and done(figures):
                return figures
            assert self.child is not None and self.child.poll() is None, self.log()
            time.sleep(0.05)
        raise AssertionError(f"not within {within_s} s: {self.figures()}\n{self.log()}")

    def wait_until_up(self) -> dict[str, Any]:
        """Wait until every connection stands with its subscriptions."""
        return self.wait_until(lambda figures: figures["venues"] and all(
            row["connections"] and row["connections_up"] == row["connections"] for row in figures["venues"]))

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal and wait for the end."""
        assert self.child is not None
        self.child.send_signal(number)
        self.child.wait(HANGS_S)

    def stop(self) -> int:
        """End it as a service manager does; return its exit code."""
        self.kill(signal.SIGTERM)
        assert self.child is not None
        return int(self.child.returncode)

    def wait_for_log(self, text: str) -> None:
        """Wait until a text is in the log."""
        deadline = time.monotonic() + HANGS_S
        while text not in self.log():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        """Return the end of its log."""
        return (self.folder / "collector.log").read_text("utf-8", "replace")[-4000:]

    def wait_until_idle(self) -> None:
        """Wait until it reads nothing more, once its venues have stopped trading, and has written it all."""
        before = -1
        while (read := sum(row["trades_total"] for row in self.figures()["venues"])) != before:
            before = read
            time.sleep(1.2)  # more than the figures take to be written again
        self.wait_until(lambda figures: figures["journal"]["backlog_trades"] == 0)

    def __enter__(self) -> CollectorProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.child is not None and self.child.poll() is None:
            self.kill()
