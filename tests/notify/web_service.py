"""A web service on loopback with a script of behaviours and a history of what it was sent."""

from __future__ import annotations

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import trustme

HUGE_BYTES = 1 << 30


class WebService:
    """Answers each POST as the next word of `script` says, then with 200.

    A number is a status. `hang`: no answer until the end. `redirect`: to `elsewhere`. `huge`: a body of 1 GB. With
    `tls`, its certificate is of `authority` (PEM).
    """

    def __init__(self, *script: int | str, elsewhere: str = "", tls: bool = False) -> None:
        self.script, self.elsewhere = list(script), elsewhere
        self.posts: list[tuple[dict[str, str], bytes]] = []  # headers in small letters, body
        self.sent_bytes = 0
        self.over = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                behaviour = service.script.pop(0) if service.script else 200
                service.posts.append(({name.lower(): value for name, value in self.headers.items()}, body))
                service.behave(self, behaviour)

            do_GET = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.authority = b""
        if tls:
            made, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            made.issue_cert("127.0.0.1").configure_cert(context)
            self.authority = made.cert_pem.bytes()
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def behave(self, handler: BaseHTTPRequestHandler, behaviour: int | str) -> None:
        if behaviour == "hang":
            self.over.wait(60)
            return
        handler.send_response({"redirect": 302, "huge": 200}.get(str(behaviour), behaviour))  # type: ignore[arg-type]
        if behaviour == "redirect":
            handler.send_header("Location", self.elsewhere)
        handler.send_header("Content-Length", str(HUGE_BYTES if behaviour == "huge" else 0))
        handler.end_headers()
        try:
            while behaviour == "huge" and self.sent_bytes < HUGE_BYTES and not self.over.is_set():
                self.sent_bytes += handler.wfile.write(bytes(1 << 16))
        except OSError:
            pass  # the other side has had enough

    def __enter__(self) -> WebService:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
