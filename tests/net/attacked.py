"""Measure an attack on a process like the collector, which gevent has patched: run as a program, it prints one JSON object.

`python attacked.py TIMEOUT_S '{"name": ["dial" or "fetch", URL, PROXY]}'`: the error that each attack ended with, the seconds
it took, the longest that others waited for a turn, and by how much memory grew at most.
"""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import json
import resource
import ssl
import sys
import time

import gevent

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.http import Http
from pumpwatch.net.ws import Dialer


def main(timeout_s: float, attacks: dict[str, tuple[str, str, str]]) -> None:
    """Meet all attacks at once and print what became of each, and of this process."""
    longest_s = 0.0

    def others() -> None:
        nonlocal longest_s
        last = time.monotonic()
        while True:
            gevent.sleep(0.001)
            now = time.monotonic()
            longest_s, last = max(longest_s, now - last), now

    def meet(what: str, url: str, proxy: str) -> tuple[str, float]:
        started, said = time.monotonic(), ""
        try:
            if what == "dial":
                Dialer(context, timeout_s, proxy).open(url, {}).close()
            else:
                said = f"answered {Http(context, timeout_s, proxy).fetch(url).status}"
        except ServiceUnavailable as error:
            said = error.message
        return said, time.monotonic() - started

    context = ssl.create_default_context()
    ticking = gevent.spawn(others)
    gevent.sleep(0.01)
    before = peak_mb()
    met = {name: gevent.spawn(meet, *attack) for name, attack in attacks.items()}
    gevent.joinall(met.values(), raise_error=True)
    ticking.kill()
    print(json.dumps({"said": {name: one.value[0] for name, one in met.items()},
                      "took_s": {name: one.value[1] for name, one in met.items()},
                      "longest_s": longest_s, "grown_mb": peak_mb() - before}))


def peak_mb() -> float:
    """Return the most memory this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(float(sys.argv[1]), json.loads(sys.argv[2]))
