"""Sign in and out: a session is begun with the token, and a cookie stands for it from then on."""

from __future__ import annotations

import msgspec

from pumpwatch.api.credentials import cookie_of, has_token, session_in
from pumpwatch.api.guard import CHALLENGE
from pumpwatch.api.route import JSON, Answer, Call, Problem, Route
from pumpwatch.api.sessions import LASTS_S


class SessionState(msgspec.Struct):
    """The credential of the request: `session`, `token`, or `nothing`. lasts_s: how long a session lasts after its last use."""

    by: str
    lasts_s: int


def session_state(call: Call) -> SessionState:
    """Answer with what lets the caller in. A session comes first: the page need not sign in again."""
    sessions = call.desk.sessions
    by = "nothing"
    if sessions.holds(session_in(call.headers.get("cookie", ""))):
        by = "session"
    elif has_token(call.headers.get("authorization", ""), sessions.token):
        by = "token"
    return SessionState(by, int(LASTS_S))


def sign_in(call: Call) -> Answer:
    """Begin a session, and set its cookie. It takes the token itself: no session begins another one."""
    sessions = call.desk.sessions
    if not has_token(call.headers.get("authorization", ""), sessions.token):
        raise Problem(401, "a session is begun with the token", CHALLENGE)
    body = msgspec.json.encode(SessionState("session", int(LASTS_S)))
    return Answer(body, JSON, {"Set-Cookie": cookie_of(sessions.begin(), LASTS_S, secure=_is_secure(call))}, 201)


def sign_out(call: Call) -> Answer:
    """End the session of the cookie, and remove the cookie."""
    if session := session_in(call.headers.get("cookie", "")):
        call.desk.sessions.end(session)
    return Answer(b"", "", {"Set-Cookie": cookie_of("", 0, secure=_is_secure(call))}, 204)


def _is_secure(call: Call) -> bool:
    """Return whether the browser speaks TLS, with us or with a balancer before us (guard.py has checked the Origin)."""
    return call.desk.sessions.secure or call.headers.get("origin", "").lower().startswith("https://")


ROUTES = (
    Route("/api/session", session_state, "What lets the caller in: the token, a session, or nothing", SessionState),
    Route("/api/session", sign_in, "Begins a session: the token once, its cookie from then on", SessionState, method="POST",
          status=201, token=True),
    Route("/api/session", sign_out, "Ends the session of the cookie", method="DELETE", status=204, media=(), token=True),
)
