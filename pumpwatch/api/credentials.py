"""Read the credentials of a request: the token, or a session's cookie."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

COOKIE = "pumpwatch_session"
_SESSION = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes


def has_token(authorization: str, token: str) -> bool:
    """Return whether an Authorization header has the token; False if `token` is empty.

    Clients send it as Bearer, or as the password of Basic, for which browsers prompt. The comparison takes constant time.
    """
    given = hashlib.sha256(_token_in(authorization)).digest()
    return hmac.compare_digest(given, hashlib.sha256(token.encode()).digest()) and bool(token)


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


def session_in(cookies: str) -> str:
    """Return the session id in a Cookie header, empty without a valid one."""
    for cookie in cookies.split(";"):
        name, _, value = cookie.strip().partition("=")
        if name == COOKIE:
            return value if _SESSION.fullmatch(value) else ""
    return ""


def cookie_of(session: str, lasts_s: float, *, secure: bool) -> str:
    """Return the Set-Cookie header of a session; `lasts_s` 0 removes it.

    Scripts cannot read the cookie, and browsers do not send it for requests of other sites.
    """
    return f"{COOKIE}={session}; Path=/; Max-Age={lasts_s:.0f}; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")
