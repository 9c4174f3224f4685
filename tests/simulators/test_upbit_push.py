"""Upbit's WebSocket as a server: one key, subscriptions, and one message a notice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pumpwatch_plugins.simulators.upbit import KEY, PUSH, PUSH_PATH, TRADE
from pumpwatch_plugins.sources.upbitws import parse, token

from pumpwatch import HttpCall, HttpReply, Notice, Post

NOW_NS = 1_790_000_000 * 10**9
POST = Post(number=7, uuid="77", title="솜니아(SOMI) KRW 마켓 디지털 자산 추가", category=TRADE, first_listed_at_ns=NOW_NS,
            listed_at_ns=NOW_NS, body="<table>")


def shake(bearer: str, revoked: bool = False, path: str = PUSH_PATH) -> HttpReply | None:
    return PUSH.open(HttpCall("GET", path, {}, {"authorization": f"Bearer {bearer}"}, b"", NOW_NS), revoked)


def wanted(**changes: Any) -> str:
    return json.dumps([{"ticket": "t"}, {"type": "announcement", **changes}, {"format": "DEFAULT"}])


def test_the_one_key_is_accepted_until_it_is_revoked() -> None:
    assert shake(token(**KEY)) is None
    for refused in (shake(token(**KEY), revoked=True), shake(token(KEY["access_key"], "other")),
                    shake(token("o", KEY["secret_key"])), shake(""), shake("a.b.c"), shake("....")):
        assert refused is not None and refused.status == 401
    assert shake(token(**KEY), path="/other") == HttpReply(404, b'{"success": false, "error_message": "Not Found"}')


def test_a_ping_is_answered_and_a_wrong_subscription_gets_an_error() -> None:
    notes: dict[str, Any] = {}
    assert PUSH.receive(notes, "PING") == ['{"status":"UP"}']
    for text in ("", "[]", "{}", "[1,2]", json.dumps([{"ticket": "t"}, {"type": "trade"}])):
        assert "WRONG_FORMAT" in PUSH.receive(notes, text)[0]
    assert "INVALID_PARAM" in PUSH.receive(notes, wanted(categories=["listing"]))[0]
    assert PUSH.encode(POST, "created", notes, NOW_NS) == ""


@pytest.mark.parametrize(("asked", "told"), [({}, True), ({"categories": ["trade"]}, True), ({"categories": ["notice"]}, False)])
def test_a_client_is_told_of_the_categories_that_it_asked_for(asked: dict[str, Any], told: bool) -> None:
    notes: dict[str, Any] = {}
    assert PUSH.receive(notes, wanted(**asked)) == []
    assert bool(PUSH.encode(POST, "created", notes, NOW_NS)) == told


def test_the_source_reads_what_the_server_sends() -> None:
    notes: dict[str, Any] = {}
    PUSH.receive(notes, wanted(include_body=True))
    (notice,) = parse(PUSH.encode(POST, "created", notes, NOW_NS).encode())
    assert isinstance(notice, Notice)
    assert (notice.notice_id, notice.title, notice.body, notice.published_at_ns) == ("7", POST.title, "<table>", NOW_NS)
    PUSH.receive(notes, wanted())
    assert "body" not in json.loads(PUSH.encode(POST, "updated", notes, NOW_NS))
