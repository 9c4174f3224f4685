"""The credentials of a request."""

from __future__ import annotations

import base64

import pytest

from pumpwatch.api.credentials import cookie_of, has_token, session_in

TOKEN = "0123456789abcdef"
SESSION = "A" * 42 + "_"


@pytest.mark.parametrize(("authorization", "holds"), [
    (f"Bearer {TOKEN}", True), (f"Basic {base64.b64encode(f'me:{TOKEN}'.encode()).decode()}", True), (f"Token {TOKEN}", False),
    (f"Bearer {TOKEN[:-1]}", False), ("", False), ("Basic \xff", False)])
def test_the_token_is_given_as_bearer_or_as_a_password(authorization: str, holds: bool) -> None:
    assert has_token(authorization, TOKEN) == holds


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Basic Og=="])
def test_nobody_holds_a_token_that_there_is_not(authorization: str) -> None:
    assert not has_token(authorization, "")


@pytest.mark.parametrize(("cookies", "session"), [
    (f"pumpwatch_session={SESSION}", SESSION), (f"a=b;pumpwatch_session={SESSION} ; c", SESSION), ("", ""), ("a=b", ""),
    ("pumpwatch_session=short", ""), (f"pumpwatch_session={SESSION}x", ""), (f"xpumpwatch_session={SESSION}", "")])
def test_a_session_is_found_among_the_cookies(cookies: str, session: str) -> None:
    assert session_in(cookies) == session


def test_no_script_and_no_other_site_gets_the_cookie() -> None:
    assert cookie_of(SESSION, 60, secure=False) == f"pumpwatch_session={SESSION}; Path=/; Max-Age=60; HttpOnly; SameSite=Strict"
    assert cookie_of(SESSION, 60, secure=True).endswith("; Secure")
