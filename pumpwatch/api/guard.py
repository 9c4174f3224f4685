"""Who may ask: the names a browser may call us by, the pages that may ask, the token and sessions."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

import falcon

from pumpwatch.api.credentials import has_token, session_in
from pumpwatch.api.rate_limits import Caller
from pumpwatch.api.route import Problem
from pumpwatch.api.sessions import Sessions

CALLER = "pumpwatch.caller"  # where the server leaves it in a request's environment
READING = ("GET", "HEAD", "OPTIONS")
# Chromium reads the first challenge of a header alone, and asks for the token by Basic.
CHALLENGE = {"WWW-Authenticate": 'Basic realm="pumpwatch", charset="UTF-8", Bearer realm="pumpwatch"'}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]{1,253})(?::[0-9]{1,5})?")


@dataclass(frozen=True)
class Guard:
    """Looks at each request before its route does.

    A stranger's web page may have its own name point to this machine (DNS rebinding). So the Host must be an address,
    `localhost` or one of `hosts`; and an Origin must be the Host itself. Without a token nobody may change anything.

    A session stands for the token, with one more rule: browsers send its cookie by themselves, so a change needs a header that
    says that our own page asks. SameSite is not enough: it takes every port of this machine for one site.

    every_request: reading needs the token too. changing: method and path of the routes that need it anyway. secure: it is TLS.
    """

    hosts: frozenset[str]
    sessions: Sessions
    every_request: bool
    changing: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    secure: bool = False

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Refuse a request that may not pass. Raises Problem."""
        host = req.get_header("Host") or ""
        if not self.knows(host):
            raise Problem(421, "this Host is not served: call the address itself, or name it in api.hosts")
        origin = req.get_header("Origin")
        if origin is not None and not self._is_own(origin.lower(), host.lower()):
            raise Problem(403, "other web sites may not ask")
        if self.every_request and not self._entry(req):
            raise Problem(401, "this needs the token", CHALLENGE)

    def process_resource(self, req: falcon.Request, resp: falcon.Response, resource: object, params: object) -> None:
        """Refuse a change without the token. Raises Problem."""
        if (req.method, req.uri_template) not in self.changing:
            return
        if not self.sessions.token:
            raise Problem(403, "changes are off: the config has neither api.token nor api.token_file")
        entry = self._entry(req)
        if not entry:
            raise Problem(401, "this needs the token", CHALLENGE)
        if entry == "session" and req.get_header("Origin") is None and req.get_header("Sec-Fetch-Site") != "same-origin":
            raise Problem(403, "with a session, changes come from the page: neither Origin nor Sec-Fetch-Site says so")

    def _is_own(self, origin: str, host: str) -> bool:
        """Return whether an Origin is the Host itself; a name of the config may have TLS that ends before us."""
        if origin == f"{'https' if self.secure else 'http'}://{host}":
            return True
        return origin == f"https://{host}" and host.partition(":")[0].rstrip(".") in self.hosts

    def _entry(self, req: falcon.Request) -> str:
        """Return what lets a request in: `token`, `session`, or nothing."""
        caller: Caller | None = req.env.get(CALLER)
        if caller is not None:
            return "" if caller.by == "address" else caller.by
        if has_token(req.get_header("Authorization") or "", self.sessions.token):
            return "token"
        return "session" if self.sessions.holds(session_in(req.get_header("Cookie") or "")) else ""

    def knows(self, host: str) -> bool:
        """Return whether a Host header names us: by an address, which no stranger's name can be, or by a name that we know."""
        found = _HOST.fullmatch(host)
        if not found:
            return False
        name = found[1].lower().rstrip(".")
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name == "localhost" or name in self.hosts
        return True
