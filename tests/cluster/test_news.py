"""News of listings as JSON, there and back."""

from __future__ import annotations

import msgspec
import pytest

from pumpwatch.cluster.news import (
    EditedNews,
    FirstLookNews,
    Message,
    News,
    NoticesNews,
    PartNews,
    SentNews,
    ShownNews,
    SightNews,
    decode_message,
    encode_message,
    lean,
)
from pumpwatch.model import Notice
from pumpwatch.store.evidence import Evidence
from tests.listing.market import listing_of

NOTICE = Notice(source="upbit", notice_id="1", title="카이트(KITE)", category="x", published_at_ns=5, updated_at_ns=6, raw="{}",
                body="b", coins=("KITE",))
NEWS: list[News] = [
    SightNews(listing_of()), SightNews(listing_of(), "too many at once"), NoticesNews("upbit", ((NOTICE, "other", "r"),)),
    FirstLookNews("upbit"), ShownNews((Evidence("upbit", "1", 5, "seen", {"raw": "{}", "answer": None}),)), EditedNews(NOTICE, 7),
    PartNews("KITE:abc", 5, 4, True), SentNews("seen:upbit:1:KITE")]


@pytest.mark.parametrize("news", NEWS, ids=lambda news: type(news).__name__)
def test_decoded_news_equals_the_encoded_news(news: News) -> None:
    message = Message("a", 1, 2, 3, news)
    assert decode_message(encode_message(message)) == message and message.key == ("a", 1, 2)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"member":"a","begun_ns":1,"number":1,"sent_at_ns":1,"news":{"type":"what"}}',
                                  encode_message(Message("a", 1, 2, 3, NEWS[0])).replace(b'"KITE"', b"5")])
def test_invalid_news_is_rejected(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_message(body)


def test_a_lean_notice_is_known_by_the_same_facts_without_its_texts() -> None:
    found = lean(NOTICE)
    assert (found.raw, found.body) == ("", "") and (found.notice_id, found.title, found.coins) == ("1", NOTICE.title, ("KITE",))
