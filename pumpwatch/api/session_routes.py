"""Routes to sign in and out: the token starts a session, and a cookie replaces it from then on."""

from __future__ import annotations

import msgspec

from pumpwatch.api.credentials import cookie_of, has_token, session_in
from pumpwatch.api.guard import CHALLENGE
from pumpwatch.api.route import JSON, Answer, ApiCall, Problem, Route
from pumpwatch.api.sessions import LASTS_S


class SessionState(msgspec.Struct):
    """The credential of the request: `session`, `token`, or `nothing`. lasts_s: how long a session lasts after its last use."""

    by: str
    lasts_s: int


def session_state(call: ApiCall) -> SessionState:
    """Return the caller's credential. A session is reported before the token, so that the page does not sign in again."""
    sessions = call.desk.sessions
    by = "nothing"
    if sessions.holds(session_in(call.headers.get("cookie", ""))):
        by = "session"
    elif has_token(call.headers.get("authorization", ""), sessions.token):
        by = "token"
    return SessionState(by, int(LASTS_S))


def sign_in(call: ApiCall) -> Answer:
    """Start a session, and set its cookie. Only the token starts a session; a session cannot start another one."""
    sessions = call.desk.sessions
    if not has_token(call.headers.get("authorization", ""), sessions.token):
        raise Problem(401, "only the token can start a session", CHALLENGE)
    body = msgspec.json.encode(SessionState("session", int(LASTS_S)))
    return Answer(body, JSON, {"Set-Cookie": cookie_of(sessions.begin(), LASTS_S, secure=_is_secure(call))}, 201)


def sign_out(call: ApiCall) -> Answer:
    """End the session of the cookie, and remove the cookie."""
    if session := session_in(call.headers.get("cookie", "")):
        call.desk.sessions.end(session)
    return Answer(b"", "", {"Set-Cookie": cookie_of("", 0, secure=_is_secure(call))}, 204)


def _is_secure(call: ApiCall) -> bool:
    """Return whether the browser uses TLS, to us or to a load balancer (guard.py has checked the Origin)."""
    return call.desk.sessions.secure or call.headers.get("origin", "").lower().startswith("https://")


ROUTES = (
    Route("/api/session", session_state, "The caller's credential: the token, a session, or nothing", SessionState),
    Route("/api/session", sign_in, "Start a session with the token; its cookie replaces the token", SessionState, method="POST",
          status=201, token=True),
    Route("/api/session", sign_out, "End the session of the cookie", method="DELETE", status=204, media=(), token=True),
)
