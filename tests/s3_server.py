"""A real S3 server on loopback, started by packaging/s3: S3Proxy, which checks keys, signatures, sums, part sizes and clocks.

If it cannot be started, the tests that need it fail, as with QuestDB.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.backup.plan import S3Target

SCRIPT = Path(__file__).resolve().parent.parent / "packaging" / "s3"
START_TIMEOUT_S = 90.0
KEY, SECRET = "tester-key", "a-secret-of-the-tester"
BUCKETS = count(1)


class S3Server:
    """One server process. Each test takes a bucket of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and return once it accepts connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        environ = os.environ | {"S3_ADDRESS": f"127.0.0.1:{self.port}", "S3_ACCESS_KEY": KEY, "S3_SECRET_KEY": SECRET}
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen([str(SCRIPT), "start", str(self.folder)], env=environ, stdout=log,
                                             stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            except OSError:
                time.sleep(0.05)
        lines = (self.folder / "server.log").read_text("utf-8", "replace").splitlines()[-15:]
        self.end()
        raise RuntimeError("S3Proxy did not start:\n" + "\n".join(lines))

    def end(self) -> None:
        """End the server if it runs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def bucket(self, **changes: Any) -> S3Target:
        """Return a new bucket with a prefix, reached directly unless `endpoint` says otherwise."""
        from pumpwatch.backup.s3 import S3Shelf

        name = f"bucket-{next(BUCKETS)}"
        direct = S3Target(bucket=name, prefix="here/", endpoint=self.endpoint, access_key=KEY, secret_key=SECRET)
        S3Shelf(direct).client.create_bucket(Bucket=name)
        values = {field: getattr(direct, field) for field in direct.__struct_fields__}
        return S3Target(**{**values, **changes})


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The server that all tests of a session share."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.end()
