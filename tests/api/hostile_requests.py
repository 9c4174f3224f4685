"""Bad requests to a running collector's API, thousands of them, and a count of the answers.

`python -m tests.api.hostile_requests PORT COUNT` prints {"answers": {kind: {status: count}}, "let_in": [kind, ...]} as JSON.
Some share a connection, as a client that has patience would have them; the others break it.
"""

from __future__ import annotations

import json
import socket
import sys
from collections import Counter
from contextlib import suppress

TAIL = b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
DRILL = b"POST /api/listings/drill HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 16\r\n"
BODY = b'{"coin": "PEPE"}'

# answered on a connection that goes on: kind -> request
POLITE = {
    "wrong token": DRILL + b"Authorization: Bearer not-the-token-not-the-token\r\n\r\n" + BODY,
    "half of the token": DRILL + b"Authorization: Bearer a-token-for-the\r\n\r\n" + BODY,
    "not a token": DRILL + b"\r\n" + BODY,
    "a page of a stranger": b"GET /api/system/status HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\n\r\n",
    "a name of a stranger": b"GET /api/system/status HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "ten years": b"GET /api/trades?coin=BTC&from=2016-01-01&to=2026-01-01" + TAIL,
    "an unknown coin": b"GET /api/trades/recent?coin=NOSUCHCOIN" + TAIL,
    "an archive of another folder": b"GET /api/listings/etc/files/passwd" + TAIL,
    "a path in an archive's name": b"GET /api/listings/BTC/files/....//....//etc/passwd" + TAIL,
    "a limit that is not one": b"GET /api/gaps?limit=-1" + TAIL,
    "an unknown method": b"BREW /api/health" + TAIL,
    "nothing there": b"GET /wp-login.php" + TAIL,
}

# answered, if at all, by the end of the connection
RUDE = {
    "a path upwards": b"GET /..%2f..%2f..%2fetc/passwd" + TAIL,
    "dots": b"GET /../../../etc/passwd" + TAIL,
    "a zero byte": b"GET /api/health\0" + TAIL,
    "a zero byte in disguise": b"GET /api/health%00" + TAIL,
    "100,000 segments": b"GET /" + b"a/" * 100_000 + TAIL,
    "a header of 300 KB": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 300_000 + b"\r\n\r\n",
    "1,000 headers": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    "chunks without end": b"POST /api/listings/drill HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n" + (
        b"4000\r\n" + b"a" * 0x4000 + b"\r\n") * 8,
    "two lengths": b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 60 + b"\r\n\r\n",
    "nothing": b"",
}


class Client:
    """One client on one machine."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.answers: dict[str, Counter[int]] = {kind: Counter() for kind in (*POLITE, *RUDE, "one of 10 MB", "held open")}

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), 60)

    def polite(self, rounds: int) -> None:
        """Send each polite kind so many times, over connections that are used again."""
        connection = self._connect()
        for _ in range(rounds):
            for kind, request in POLITE.items():
                connection.sendall(request)
                status, keeps = _answer_of(connection)
                self.answers[kind][status] += 1
                if not keeps:
                    connection.close()
                    connection = self._connect()
        connection.close()

    def rude(self, rounds: int) -> None:
        """Send each rude kind so many times."""
        for _ in range(rounds):
            for kind, request in RUDE.items():
                self._one(kind, request)

    def _one(self, kind: str, request: bytes) -> None:
        with self._connect() as connection:
            with suppress(OSError):
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
            self.answers[kind][_answer_of(connection)[0]] += 1

    def large(self) -> None:
        """Send a header of 10 MB."""
        self._one("one of 10 MB", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 10_000_000 + b"\r\n\r\n")

    def hold(self, count: int) -> None:
        """Open connections and let them be; count those that are refused."""
        held = []
        for _ in range(count):
            with suppress(OSError):
                held.append(self._connect())
        for connection in held:
            connection.settimeout(0.01)
            with suppress(OSError):
                self.answers["held open"][_status_in(connection.recv(100))] += 1
            connection.close()


def _answer_of(connection: socket.socket) -> tuple[int, bool]:
    """Return the status of the next answer, 0 where the connection ends without one, and whether the connection goes on."""
    answer = b""
    with suppress(OSError):
        while b"\r\n\r\n" not in answer:
            piece = connection.recv(65_536)
            if not piece:
                return _status_in(answer), False
            answer += piece
        head, _, body = answer.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            piece = connection.recv(65_536)
            if not piece:
                break
            body += piece
        return _status_in(answer), b"connection: close" not in head.lower()
    return _status_in(answer), False


def _status_in(answer: bytes) -> int:
    words = answer.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def main(port: int, count: int) -> None:
    """Send about `count` bad requests: nine of ten polite ones, which are judged to the end."""
    client = Client(port)
    client.hold(400)
    client.large()
    client.rude(count // 10 // len(RUDE))
    client.polite(count * 9 // 10 // len(POLITE))
    print(json.dumps({"sent": sum(sum(found.values()) for found in client.answers.values()),
                      "answers": {kind: dict(found) for kind, found in client.answers.items()}}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
