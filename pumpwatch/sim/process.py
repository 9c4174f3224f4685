"""The simulator as a child process, for the demo and for tests: start it, command it, read its ground truth, stop it."""

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
from pumpwatch.sim.collector_config import config_yaml
from pumpwatch.sim.ground_truth import Truth, load_truth

END_WAIT_S = 10.0


def launch(options: str) -> subprocess.Popen[bytes]:
    """Start the child with its options, one JSON object: commands go to its stdin, answers come from its stdout."""
    paths = os.pathsep.join(path for path in sys.path if path)  # a zipapp's packages are on no other path
    return subprocess.Popen([sys.executable, "-m", "pumpwatch.sim", options], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            # Ctrl-C reaches this process alone, which then stops the child; and the kernel, which
                            # divides the cores by session, gives the venues a share of their own
                            start_new_session=True,
                            env={**os.environ, "PYTHONPATH": paths})


class SimProcess:
    """A context manager: `with SimProcess(symbols=20, rate=5000) as sim: ...`. Options are those of SimOptions.

    The child ends with this process (its stdin closes) or by `stop`. It also works in a process that gevent has patched.
    """

    launch = staticmethod(launch)

    def __init__(self, **options: Any) -> None:
        if not options.get("folder"):
            self._temporary = tempfile.TemporaryDirectory(prefix="pumpwatch-sim-")  # removed with this object
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
        self._child = self.launch(json.dumps(self.options))
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            code = self._child.wait()
            self.stop()
            raise ServiceUnavailable(f"the simulator did not start: exit code {code}", "stderr above says why")
        self.addresses = json.loads(line)
        self._tls = ssl.create_default_context(cafile=self.addresses["ca_file"])

    @property
    def pid(self) -> int:
        """The child's process id."""
        assert self._child is not None
        return self._child.pid

    def config_yaml(self) -> str:
        """Return the config that points a collector here."""
        return config_yaml(self.addresses)

    def ask(self, command: str, **body: Any) -> dict[str, Any]:
        """Run a command (see sim.control) and return the answer.

        Raises UsageError with the simulator's message, or ServiceUnavailable if it does not answer.
        """
        request = urllib.request.Request(f"{self.addresses['control']}/{command}", json.dumps(body).encode(),
                                         {"Content-Type": "application/json", "Connection": "close"})
        try:
            with urllib.request.urlopen(request, timeout=30, context=self._tls) as response:
                answer: dict[str, Any] = json.loads(response.read())
                return answer
        except urllib.error.HTTPError as error:
            with error:
                raise UsageError(f"the simulator rejected `{command}`: {error.read().decode(errors='replace')}") from error
        except OSError as error:
            raise ServiceUnavailable(f"the simulator does not answer: {error}") from error

    def status(self) -> dict[str, Any]:
        """Return the simulator's figures."""
        return self.ask("status")

    def fault(self, kind: str, **where: Any) -> dict[str, Any]:
        """Inject a fault now."""
        return self.ask("fault", kind=kind, **where)

    def publish(self, coin: str, **listing: Any) -> dict[str, Any]:
        """Publish a KRW listing of a coin now."""
        return self.ask("publish", coin=coin, **listing)

    def resume(self, **body: Any) -> dict[str, Any]:
        """Resume trading."""
        return self.ask("resume", **body)

    def pause(self, within_s: float = 30.0) -> dict[str, Any]:
        """Stop trading, wait until the kernel has taken everything that was sent, and return the status."""
        status = self.ask("pause")
        deadline = time.monotonic() + within_s
        while status["queued_bytes"] and time.monotonic() < deadline:
            time.sleep(0.05)
            status = self.status()
        return status

    def truth(self) -> Truth:
        """Return the ground truth so far, up to a second old; after `pause` or `stop` it is complete."""
        return load_truth(self.folder)

    def stop(self) -> None:
        """Stop the child if it runs, and close its pipes."""
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
