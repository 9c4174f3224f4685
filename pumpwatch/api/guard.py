"""Who may ask: the names a browser may call us by, the pages that may ask, and the token."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass, field

import falcon

from pumpwatch.api.route import Problem

READING = ("GET", "HEAD", "OPTIONS")
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="pumpwatch", Basic realm="pumpwatch", charset="UTF-8"'}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]{1,253})(?::[0-9]{1,5})?")


@dataclass(frozen=True)
class Guard:
    """Looks at each request before its route does.

    A stranger's web page may have its own name point to this machine (DNS rebinding). So the Host must be an address,
    `localhost` or one of `hosts`; and an Origin must be the Host itself. Without a token nobody may change anything.

    every_request: reading needs the token too. changing: method and path of the routes that need it anyway. secure: it is TLS.
    """

    hosts: frozenset[str]
    token: str
    every_request: bool
    changing: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    secure: bool = False

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Refuse a request that may not pass. Raises Problem."""
        host = req.get_header("Host") or ""
        if not self.knows(host):
            raise Problem(421, "this Host is not served: call the address itself, or name it in api.hosts")
        origin = req.get_header("Origin")
        if origin is not None and origin.lower() != f"{'https' if self.secure else 'http'}://{host.lower()}":
            raise Problem(403, "other web sites may not ask")
        if self.every_request and not self.is_holder(req.get_header("Authorization") or ""):
            raise Problem(401, "this needs the token", CHALLENGE)

    def process_resource(self, req: falcon.Request, resp: falcon.Response, resource: object, params: object) -> None:
        """Refuse a change without the token. Raises Problem."""
        if (req.method, req.uri_template) not in self.changing:
            return
        if not self.token:
            raise Problem(403, "changes are off: the config has neither api.token nor api.token_file")
        if not self.is_holder(req.get_header("Authorization") or ""):
            raise Problem(401, "this needs the token", CHALLENGE)

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

    def is_holder(self, authorization: str) -> bool:
        """Return whether an Authorization header has the token.

        It is given as Bearer, or as the password of Basic, for which browsers ask. The comparison takes the same time for
        whatever is given.
        """
        given = hashlib.sha256(_token_in(authorization)).digest()
        return hmac.compare_digest(given, hashlib.sha256(self.token.encode()).digest()) and bool(self.token)


def _token_in(authorization: str) -> bytes:
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip().encode("latin-1", "replace")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).partition(b":")[2]
        except ValueError:
            pass
    return b""
