"""A notice board: a script of answers, and a history of requests; in memory, or on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from pumpwatch.net.http import Response

KST = timezone(timedelta(hours=9))


def stamp(at_ns: int) -> str:
    """Return a time as the board writes it: whole seconds, Korean offset."""
    return datetime.fromtimestamp(at_ns // 10**9, UTC).astimezone(KST).isoformat()


def row(number: int, title: str, published_at_ns: int, edited_at_ns: int | None = None,
        category: str = "거래") -> dict[str, Any]:
    """Return one row of the list."""
    return {"listed_at": stamp(edited_at_ns or published_at_ns), "first_listed_at": stamp(published_at_ns),
            "id": number, "uuid": str(number * 7919), "title": title, "category": category,
            "need_new_badge": edited_at_ns is None, "need_update_badge": edited_at_ns is not None}


def listing_of(rows: Sequence[dict[str, Any]]) -> bytes:
    """Return the body of the list."""
    pinned = row(2895, "특정금융정보법에 따른 안내", 0, category="안내")
    return json.dumps({"success": True, "data": {"total_pages": 1, "total_count": len(rows), "notices": list(rows),
                                                 "fixed_notices": [pinned]}}, ensure_ascii=False).encode()


class FakeBoard:
    """Answers from `script`, one entry a request, and then with the list of `rows` (with ETag and 304). Opens no socket."""

    def __init__(self, url: str = "http://board.test/notices") -> None:
        self.url = url
        self.rows: list[dict[str, Any]] = []
        self.script: list[tuple[int, dict[str, str], bytes]] = []
        self.requests: list[dict[str, str]] = []
        self.statuses: list[int] = []

    def answer(self, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body, and record both sides."""
        lower = {name.lower(): value for name, value in headers.items()}
        self.requests.append(lower)
        answer = self.script.pop(0) if self.script else self._list(lower.get("if-none-match", ""))
        self.statuses.append(answer[0])
        return answer

    def fetch(self, url: str, headers: Mapping[str, str]) -> Response:
        """Answer as `net.http` does."""
        status, answered, body = self.answer(headers)
        return Response(status, answered, body)

    def _list(self, etag: str) -> tuple[int, dict[str, str], bytes]:
        body = listing_of(self.rows)
        tag = f'W/"{hash(body)}"'
        if etag == tag:
            return 304, {"ETag": tag}, b""
        return 200, {"ETag": tag, "Content-Type": "application/json"}, body


class BoardServer(FakeBoard):
    """The same on loopback."""

    def __init__(self) -> None:
        board = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, headers, body = board.answer(self.headers)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        super().__init__(f"http://127.0.0.1:{self._server.server_address[1]}/api/v1/announcements?os=web&page=1")

    def __enter__(self) -> BoardServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
