"""The news that members of a cluster tell each other about listings, as JSON.

A message that does not decode, or that another version made, is counted and ignored.
"""

from __future__ import annotations

import dataclasses

import msgspec

from pumpwatch.model import Listing, Notice
from pumpwatch.store.evidence import Evidence


class SightNews(msgspec.Struct, frozen=True, tag="sight"):
    """A member saw a listing. problem: the reason why it gets no window, empty where it gets one."""

    listing: Listing
    problem: str = ""


class NoticesNews(msgspec.Struct, frozen=True, tag="notices"):
    """A member has dealt with notices of a board: each with the kind of its verdict and its revision."""

    source: str
    rows: tuple[tuple[Notice, str, str], ...]


class FirstLookNews(msgspec.Struct, frozen=True, tag="first_look"):
    """A member has remembered every notice of its first look at a board."""

    source: str


class ShownNews(msgspec.Struct, frozen=True, tag="shown"):
    """The content that sources showed of listings."""

    rows: tuple[Evidence, ...]


class EditedNews(msgspec.Struct, frozen=True, tag="edited"):
    """A notice was edited."""

    notice: Notice
    seen_at_ns: int


class PartNews(msgspec.Struct, frozen=True, tag="part"):
    """A member has put its part of a window. window: its name, see `window_parts.window_name`; at_ns: its announcement."""

    window: str
    made_at_ns: int
    at_ns: int
    final: bool = False


class ToldNews(msgspec.Struct, frozen=True, tag="told"):
    """People and programs have been told of an event: nobody else needs to."""

    event_id: str


News = SightNews | NoticesNews | FirstLookNews | ShownNews | EditedNews | PartNews | ToldNews


class Message(msgspec.Struct, frozen=True):
    """News on its way. member: who tells it. number: counts the news of one process; begun_ns: when that process began."""

    member: str
    begun_ns: int
    number: int
    sent_at_ns: int
    news: News

    @property
    def key(self) -> tuple[str, int, int]:
        """Return what tells it from every other message."""
        return self.member, self.begun_ns, self.number


def encode_message(message: Message) -> bytes:
    """Return a message as JSON."""
    return msgspec.json.encode(message)


def decode_message(body: bytes) -> Message:
    """Return the message of some JSON. Raises msgspec.DecodeError."""
    return msgspec.json.decode(body, type=Message)


def lean(notice: Notice) -> Notice:
    """Return a notice without its text as it came, which no other member needs to know it."""
    return dataclasses.replace(notice, body="", raw="")
