"""Whoever answers floods, drips, says nothing or answers without end: it is given up in time, and holds up nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.net.hostile_server import BODIES, HEADS, TLS, Scenario, answer, bomb, hostile

TIMEOUT_S = 0.7
STARVED_S = 5.0
GROWN_MB = 250  # of all attacks together; each could take gigabytes
ATTACKED = Path(__file__).with_name("attacked.py")
ENDED_S = 30.0  # an attack that is not given up lasts for ever; a busy machine only takes its time


@dataclass
class CallResult:
    said: dict[str, str]
    took_s: dict[str, float]
    longest_s: float
    grown_mb: float


def attacked(attacks: dict[str, tuple[str, str, str]]) -> CallResult:
    """Carry out (dial or fetch, URL, proxy) of each name, all at once, against one process."""
    done = subprocess.run([sys.executable, ATTACKED, str(TIMEOUT_S), json.dumps(attacks)], capture_output=True, text=True,
                          timeout=120, check=True)
    outcome = CallResult(**json.loads(done.stdout))
    assert outcome.longest_s < STARVED_S and outcome.grown_mb < GROWN_MB, outcome
    for name, said in outcome.said.items():
        assert said and said.isprintable() and len(said) < 400, (name, said)
        assert outcome.took_s[name] < ENDED_S, (name, outcome)
    return outcome


@contextmanager
def serving(scenarios: Mapping[str, Scenario], wait_for_request: bool = True) -> Iterator[dict[str, str]]:
    """Run a server for each scenario; yields their addresses."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(hostile(one, wait_for_request)).address for name, one in scenarios.items()}


def test_a_handshake_that_is_none_is_given_up_and_starves_nobody():
    with serving(HEADS) as at:
        said = attacked({name: ("dial", f"ws://{address}/ws", "") for name, address in at.items()}).said
    for name in ("headers without end", "one header without end", "a status line without end"):
        assert "its answer to the handshake is larger than 65,536 bytes" in said[name]
    for name in ("silence", "a drip of headers"):
        assert f"takes longer than {TIMEOUT_S:g} s" in said[name]
    for name in ("a refusal of 10 GB", "a refusal without end", "a refusal that drips"):
        assert "the handshake was rejected with HTTP 403" in said[name]


def test_a_tls_handshake_that_is_none_is_given_up_and_starves_nobody():
    with serving(TLS, wait_for_request=False) as at:
        said = attacked({name: ("dial", f"wss://{address}/ws", "") for name, address in at.items()} | {
            f"rest: {name}": ("fetch", f"https://{address}/", "") for name, address in at.items()}).said
    for name in ("silence", "a drip of a record", "rest: silence", "rest: a drip of a record"):
        assert f"its TLS handshake takes longer than {TIMEOUT_S:g} s" in said[name]


def test_a_proxy_that_answers_without_end_is_given_up_and_starves_nobody():
    with serving(HEADS) as at:
        said = attacked({name: ("dial", "wss://192.0.2.1:9/ws", f"http://{address}") for name, address in at.items()}).said
    assert "the proxy's answer is larger than 65,536 bytes" in said["headers without end"]
    assert "the proxy's answer takes longer than" in said["a drip of headers"]
    assert "the proxy rejects the connection: HTTP/1.1 403 Forbidden" in said["a refusal of 10 GB"]


def test_a_rest_answer_without_end_is_given_up_and_starves_nobody():
    with serving(HEADS | BODIES) as at:
        said = attacked({name: ("fetch", f"http://{address}/", "") for name, address in at.items()}).said
    assert "its answer is larger than 65,536 bytes" in said["interim answers without end"]
    assert f"its answer: nothing came for {TIMEOUT_S:g} s" in said["silence"]
    for name in ("a drip of headers", "a drip of a body", "a drip of chunks", "a refusal that drips"):
        assert f"its answer takes longer than {6 * TIMEOUT_S:g} s" in said[name]


def test_an_answer_of_200_kb_that_becomes_200_mb_is_refused_on_the_way():
    with serving({encoding: answer(bomb(encoding)) for encoding in ("gzip", "deflate")}) as at:
        said = attacked({name: ("fetch", f"http://{address}/", "") for name, address in at.items()}).said
    for one in said.values():
        assert "an answer of more than 33,554,432 bytes" in one
