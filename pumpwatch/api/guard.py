"""Check each request: the Host and Origin that it names, its token or session."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

import falcon

from pumpwatch.api.credentials import has_token, session_in
from pumpwatch.api.rate_limits import Caller
from pumpwatch.api.route import Problem
from pumpwatch.api.sessions import Sessions

CALLER = "pumpwatch.caller"  # key of the WSGI environment: the server puts the caller there
# Chromium reads only the first challenge of a header; it prompts for the token by Basic.
CHALLENGE = {"WWW-Authenticate": 'Basic realm="pumpwatch", charset="UTF-8", Bearer realm="pumpwatch"'}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]{1,253})(?::[0-9]{1,5})?")


@dataclass(frozen=True)
class Guard:
    """Checks each request before its handler runs.

    A foreign web page may let its own host name point to this machine (DNS rebinding). So the Host must be an address,
    `localhost` or one of `hosts`, and an Origin must be the Host itself. Changes are off without a token.

    A session replaces the token, with one more rule: browsers send its cookie automatically, so a change needs a header that
    proves that our own page sent it. SameSite is not enough, because it treats all ports of this machine as one site.

    every_request: reading needs the token too. changing: method and path of the routes that always need it. secure: TLS is used.
    """

    hosts: frozenset[str]
    sessions: Sessions
    every_request: bool
    changing: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    secure: bool = False

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Raise Problem for a request that must be rejected."""
        host = req.get_header("Host") or ""
        if not self.knows(host):
            raise Problem(421, "this Host is not served: use the IP address, or add the name to api.hosts")
        origin = req.get_header("Origin")
        if origin is not None and not self._is_own(origin.lower(), host.lower()):
            raise Problem(403, "requests from other web sites are rejected")
        if self.every_request and not self._credential(req):
            raise Problem(401, "this needs the token", CHALLENGE)

    def process_resource(self, req: falcon.Request, resp: falcon.Response, resource: object, params: object) -> None:
        """Raise Problem for a change without the token."""
        if (req.method, req.uri_template) not in self.changing:
            return
        if not self.sessions.token:
            raise Problem(403, "changes are off: the config has neither api.token nor api.token_file")
        credential = self._credential(req)
        if not credential:
            raise Problem(401, "this needs the token", CHALLENGE)
        if credential == "session" and req.get_header("Origin") is None and req.get_header("Sec-Fetch-Site") != "same-origin":
            raise Problem(403, "with a session, a change needs the header Origin, or Sec-Fetch-Site: same-origin")

    def _is_own(self, origin: str, host: str) -> bool:
        """Return whether an Origin is the Host itself; for a name in `hosts`, a proxy may terminate TLS."""
        if origin == f"{'https' if self.secure else 'http'}://{host}":
            return True
        return origin == f"https://{host}" and host.partition(":")[0].rstrip(".") in self.hosts

    def _credential(self, req: falcon.Request) -> str:
        """Return the credential of a request: `token`, `session`, or an empty text."""
        caller: Caller | None = req.env.get(CALLER)
        if caller is not None:
            return "" if caller.by == "address" else caller.by
        if has_token(req.get_header("Authorization") or "", self.sessions.token):
            return "token"
        return "session" if self.sessions.holds(session_in(req.get_header("Cookie") or "")) else ""

    def knows(self, host: str) -> bool:
        """Return whether a Host header is accepted: an address, which a foreign page cannot fake, or a known name."""
        found = _HOST.fullmatch(host)
        if not found:
            return False
        name = found[1].lower().rstrip(".")
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name == "localhost" or name in self.hosts
        return True
