"""The simulator as a child process, for the demo and for tests: start, command, read its truth, end."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from pumpwatch.errors import ServiceUnavailable, UsageError
from pumpwatch.sim.ground_truth import Truth, load_truth

END_WAIT_S = 10.0


class SimProcess:
    """Context manager: `with SimProcess(symbols=20, rate=5000) as sim: ...`. Options are those of SimOptions.

    The child ends when this process does (its stdin closes), and by `stop`. Works in a patched process as well.
    """

    def __init__(self, **options: Any) -> None:
        if not options.get("folder"):
            self._temporary = tempfile.TemporaryDirectory(prefix="pumpwatch-sim-")  # goes when this object goes
            options["folder"] = self._temporary.name
        self.options = options
        self.folder = Path(options["folder"])
        self.addresses: dict[str, Any] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._tls: ssl.SSLContext | None = None

    def __enter__(self) -> SimProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the child and wait until it listens."""
        paths = os.pathsep.join(path for path in sys.path if path)  # a zipapp's packages are on no other path
        self._child = subprocess.Popen([sys.executable, "-m", "pumpwatch.sim", json.dumps(self.options)],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       process_group=0,  # Ctrl-C is for this process, which ends it in its turn
                                       env={**os.environ, "PYTHONPATH": paths})
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            code = self._child.wait()
            raise ServiceUnavailable(f"the simulator did not start: exit code {code}", "its reason is on stderr above")
        self.addresses = json.loads(line)
        self._tls = ssl.create_default_context(cafile=self.addresses["ca_file"])

    @property
    def pid(self) -> int:
        """The child's process id."""
        assert self._child is not None
        return self._child.pid

    def config_yaml(self) -> str:
        """Return the config that points a collector here."""
        from pumpwatch.sim.control import config_yaml

        return config_yaml(self.addresses)

    def ask(self, command: str, **body: Any) -> dict[str, Any]:
        """Give a command (see sim.control) and return the answer. Raises UsageError with the simulator's words."""
        request = urllib.request.Request(f"{self.addresses['control']}/{command}", json.dumps(body).encode(),
                                         {"Content-Type": "application/json", "Connection": "close"})
        try:
            with urllib.request.urlopen(request, timeout=30, context=self._tls) as response:
                answer: dict[str, Any] = json.loads(response.read())
                return answer
        except urllib.error.HTTPError as error:
            raise UsageError(f"the simulator refused `{command}`: {error.read().decode(errors='replace')}") from error
        except OSError as error:
            raise ServiceUnavailable(f"the simulator does not answer: {error}") from error

    def status(self) -> dict[str, Any]:
        """Return its figures."""
        return self.ask("status")

    def fault(self, kind: str, **where: Any) -> dict[str, Any]:
        """Cause a fault now."""
        return self.ask("fault", kind=kind, **where)

    def publish(self, coin: str, **listing: Any) -> dict[str, Any]:
        """Publish a KRW listing of a coin now."""
        return self.ask("publish", coin=coin, **listing)

    def resume(self, **body: Any) -> dict[str, Any]:
        """Let trading go on."""
        return self.ask("resume", **body)

    def pause(self, within_s: float = 30.0) -> dict[str, Any]:
        """Stop trading and wait until everything sent has reached the kernel; return the status then."""
        status = self.ask("pause")
        deadline = time.monotonic() + within_s
        while status["queued_bytes"] and time.monotonic() < deadline:
            time.sleep(0.05)
            status = self.status()
        return status

    def truth(self) -> Truth:
        """Return what was sent so far, as written within the last second (all of it after `pause` or `stop`)."""
        return load_truth(self.folder)

    def stop(self) -> None:
        """End the child; harmless when it has ended."""
        child = self._child
        if child is None:
            return
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(END_WAIT_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
