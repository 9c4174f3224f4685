"""Send one message and exit: a channel starts this program, so that a slow service cannot delay the collector.

It reads a Request as JSON from stdin, so that its arguments hold no secret, and prints a SenderAnswer as JSON in its last line.
It follows no redirect, reads only the status of a webhook's answer, and exits when its memory or time is used up. It also ends
with the collector: the message is then sent after the next start, and not twice.
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

MOST_BYTES = 1 << 30  # of address space
PR_SET_PDEATHSIG = 1  # prctl(2)


class Request(msgspec.Struct, kw_only=True):
    """A message to send: by apprise, or as the body of a POST with these headers."""

    url: str
    timeout_s: float
    title: str = ""
    text: str = ""
    body: str = ""
    headers: dict[str, str] | None = None  # None: an address of apprise
    ca_file: str = ""
    parent: int = 0  # pid of the process that waits for the answer; once it is gone, nothing is sent. 0: not checked


class TimeOver(BaseException):
    """The time for one message is over. Not an Exception, so that no library catches it."""


class SenderAnswer(msgspec.Struct):
    """The answer of a service: whether it accepted the message, and the reason if not."""

    taken: bool
    reason: str = ""


def post(request: Request) -> SenderAnswer:
    """POST the body to a web address."""
    import requests

    try:
        with requests.Session() as session, time_limit(request.timeout_s), session.post(
                request.url, data=request.body.encode(), headers=request.headers, timeout=request.timeout_s,
                allow_redirects=False, stream=True) as response:
            status = response.status_code
    except requests.Timeout:
        raise TimeOver from None
    except (requests.RequestException, OSError, ValueError) as error:
        return SenderAnswer(False, _cause(error))
    if 200 <= status < 300:
        return SenderAnswer(True)
    redirect = ", a redirect, which is not followed" if 300 <= status < 400 else ""
    return SenderAnswer(False, f"it answers HTTP {status}{redirect}")


def trust_authorities(ca_file: str) -> None:
    """Make requests, which apprise uses too, trust the certificate authorities of a file beside the usual ones."""
    from requests.utils import DEFAULT_CA_BUNDLE_PATH

    both = Path(f"/proc/self/fd/{os.memfd_create('authorities')}")  # in memory: nothing is left behind
    both.write_bytes(b"\n".join(Path(file).read_bytes() for file in (DEFAULT_CA_BUNDLE_PATH, ca_file)))
    os.environ["REQUESTS_CA_BUNDLE"] = str(both)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeOver if the body takes longer, whatever it waits for."""

    def end(number: int, frame: object) -> None:
        raise TimeOver

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _cause(error: BaseException) -> str:
    """Return an error's first cause, which is shorter and more specific."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"


class LastWarning(logging.Handler):
    """Keeps the last warning that apprise logs about a service."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record's text."""
        self.text = record.getMessage()


def send_by_apprise(request: Request) -> SenderAnswer:
    """Send title and text to a service that apprise supports."""
    import apprise

    last_warning = LastWarning()
    logger = logging.getLogger("apprise")
    logger.handlers[:], logger.propagate = [last_warning], False
    logger.setLevel(logging.WARNING)
    service = apprise.Apprise(asset=apprise.AppriseAsset(
        app_id="PumpWatch", app_desc="PumpWatch", async_mode=False, http_redirects=False))
    if not service.add(request.url):
        return SenderAnswer(False, "apprise knows no service with such an address: see https://appriseit.com/services")
    with time_limit(request.timeout_s):
        taken = service.notify(title=request.title, body=request.text, body_format=apprise.NotifyFormat.TEXT)
    return SenderAnswer(bool(taken), "" if taken else last_warning.text or "the service did not take it")


def end_with_parent(parent: int) -> bool:
    """Make the kernel end this process with the thread that started it; return False if the parent process is gone already."""
    if parent:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    return parent in (0, os.getppid())


def main() -> None:
    """Send the message on stdin, and print the answer."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    if not end_with_parent(request.parent):
        return
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    os.nice(10)  # the collector comes first
    try:
        if request.ca_file:
            trust_authorities(request.ca_file)
        answer = send_by_apprise(request) if request.headers is None else post(request)
    except TimeOver:
        answer = SenderAnswer(False, f"no answer within {request.timeout_s:g} s")
    except MemoryError:
        answer = SenderAnswer(False, "its answer is too large")
    print(f"\n{msgspec.json.encode(answer).decode()}", flush=True)


if __name__ == "__main__":
    main()
    os._exit(0)  # threads of apprise may still be reading an endless answer
