"""Send one message and end: the program that a channel starts, so that no service it talks to can hold up the collector.

It reads a Request as JSON from stdin, so that no secret is in its arguments, and prints an Answer as JSON in its last line. It
follows no redirect, does not read what a webhook answers beyond the status, and ends by itself where its memory or time is over.
It ends with the collector too: a message that nobody waits for any more is sent after the next start, and not twice.
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

MOST_BYTES = 1 << 30  # of memory, address space included
PR_SET_PDEATHSIG = 1  # prctl(2)


class Request(msgspec.Struct, kw_only=True):
    """A message to send: to an address of apprise, or as the body of a POST with these headers."""

    url: str
    timeout_s: float
    title: str = ""
    text: str = ""
    body: str = ""
    headers: dict[str, str] | None = None  # None: an address of apprise
    ca_file: str = ""
    parent: int = 0  # the process that waits for the answer; once it is gone, nothing is sent. 0: any


class TimeOver(BaseException):
    """The time for one message is over. Not an Exception, so that no library takes it for one of its own."""


class Answer(msgspec.Struct):
    """Whether the service took the message, and the reason where it did not."""

    taken: bool
    reason: str = ""


def post(request: Request) -> Answer:
    """Send the body to a web address."""
    import requests

    try:
        with requests.Session() as session, within(request.timeout_s), session.post(
                request.url, data=request.body.encode(), headers=request.headers, timeout=request.timeout_s,
                allow_redirects=False, stream=True) as response:
            status = response.status_code
    except requests.Timeout:
        raise TimeOver from None
    except (requests.RequestException, OSError, ValueError) as error:
        return Answer(False, _cause(error))
    if 200 <= status < 300:
        return Answer(True)
    return Answer(False, f"it answers HTTP {status}" + (", a redirect, which is not followed" if 300 <= status < 400 else ""))


def trust(ca_file: str) -> None:
    """Have requests, which apprise uses too, trust the authorities of a file beside the usual ones."""
    from requests.utils import DEFAULT_CA_BUNDLE_PATH

    both = Path(f"/proc/self/fd/{os.memfd_create('authorities')}")  # in memory: nothing is left behind
    both.write_bytes(b"\n".join(Path(file).read_bytes() for file in (DEFAULT_CA_BUNDLE_PATH, ca_file)))
    os.environ["REQUESTS_CA_BUNDLE"] = str(both)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TimeOver where the body takes longer, whatever it waits for. Loading libraries does not count."""

    def end(number: int, frame: object) -> None:
        raise TimeOver

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _cause(error: BaseException) -> str:
    """Return an error's first cause, which says more in fewer words."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"


class LastWarning(logging.Handler):
    """Keeps what apprise says last about a service."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record's text."""
        self.text = record.getMessage()


def tell(request: Request) -> Answer:
    """Send title and text to a service by apprise."""
    import apprise

    said = LastWarning()
    logger = logging.getLogger("apprise")
    logger.handlers[:], logger.propagate = [said], False
    logger.setLevel(logging.WARNING)
    service = apprise.Apprise(asset=apprise.AppriseAsset(
        app_id="PumpWatch", app_desc="PumpWatch", async_mode=False, http_redirects=False))
    if not service.add(request.url):
        return Answer(False, "apprise knows no service with such an address: see https://appriseit.com/services")
    with within(request.timeout_s):
        taken = service.notify(title=request.title, body=request.text, body_format=apprise.NotifyFormat.TEXT)
    return Answer(bool(taken), "" if taken else said.text or "the service did not take it")


def bound_to(parent: int) -> bool:
    """Have the kernel end this process with the thread that started it; return False where its process is gone already."""
    if parent:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    return parent in (0, os.getppid())


def main() -> None:
    """Send the message on stdin, and print the answer."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    if not bound_to(request.parent):
        return
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    os.nice(10)  # the collector comes first
    try:
        if request.ca_file:
            trust(request.ca_file)
        answer = tell(request) if request.headers is None else post(request)
    except TimeOver:
        answer = Answer(False, f"no answer within {request.timeout_s:g} s")
    except MemoryError:
        answer = Answer(False, "its answer is too large")
    print(f"\n{msgspec.json.encode(answer).decode()}", flush=True)


if __name__ == "__main__":
    main()
    os._exit(0)  # threads of apprise may still read an endless answer
