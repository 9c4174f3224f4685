"""The news of listings that members of a cluster exchange, as JSON.

A message that cannot be decoded, such as one of another version, is counted and ignored.
"""

from __future__ import annotations

import dataclasses

import msgspec

from pumpwatch.model import Listing, Notice
from pumpwatch.store.evidence import Evidence


class SightNews(msgspec.Struct, frozen=True, tag="sight"):
    """A member saw a listing. problem: why it gets no window; empty if it gets one."""

    listing: Listing
    problem: str = ""


class NoticesNews(msgspec.Struct, frozen=True, tag="notices"):
    """A member has processed notices of a board. rows: each notice with the kind of its verdict and its revision."""

    source: str
    rows: tuple[tuple[Notice, str, str], ...]


class FirstLookNews(msgspec.Struct, frozen=True, tag="first_look"):
    """A member has remembered every notice of its first look at a board."""

    source: str


class ShownNews(msgspec.Struct, frozen=True, tag="shown"):
    """Content that sources showed about listings."""

    rows: tuple[Evidence, ...]


class EditedNews(msgspec.Struct, frozen=True, tag="edited"):
    """A notice was edited."""

    notice: Notice
    seen_at_ns: int


class PartNews(msgspec.Struct, frozen=True, tag="part"):
    """A member has stored its part of a window. window: see `window_parts.window_name`. at_ns: the announcement."""

    window: str
    made_at_ns: int
    at_ns: int
    final: bool = False


class SentNews(msgspec.Struct, frozen=True, tag="told"):
    """A member has sent an event to people and programs, so no other member has to."""

    event_id: str


News = SightNews | NoticesNews | FirstLookNews | ShownNews | EditedNews | PartNews | SentNews


class Message(msgspec.Struct, frozen=True):
    """News with its sender. member: the sender. number: counts the news of one process. begun_ns: when that process began."""

    member: str
    begun_ns: int
    number: int
    sent_at_ns: int
    news: News

    @property
    def key(self) -> tuple[str, int, int]:
        """Return the key that identifies the message."""
        return self.member, self.begun_ns, self.number


def encode_message(message: Message) -> bytes:
    """Return a message as JSON."""
    return msgspec.json.encode(message)


def decode_message(body: bytes) -> Message:
    """Decode a message. Raises msgspec.DecodeError."""
    return msgspec.json.decode(body, type=Message)


def lean(notice: Notice) -> Notice:
    """Return a notice without body and raw text, which the other members do not need."""
    return dataclasses.replace(notice, body="", raw="")
