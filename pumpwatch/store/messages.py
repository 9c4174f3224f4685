"""The ledger's tables of messages: unsent messages of each channel, and the events whose messages were stored.

After a restart the first table shows which messages to send, and the second which events have no message yet because of a kill.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from pumpwatch.store.sqlite import transaction

T = TypeVar("T")

_BEGUN = ""  # the event id of the row that holds since when channels get messages


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message for one channel. event: JSON. made_at_ns and next_at_ns (of the next try) by the wall clock, ns UTC."""

    channel: str
    event_id: str
    event: str
    made_at_ns: int
    tries: int = 0
    next_at_ns: int = 0


class MessageRows:
    """A part of the ledger. Every method may be repeated without harm."""

    def _run(self, doing: str, work: Callable[[sqlite3.Connection], T]) -> T:
        raise NotImplementedError

    def _rows(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def _change(self, sql: str, values: Sequence[object]) -> int:
        raise NotImplementedError

    def store_messages(self, messages: Sequence[StoredMessage], told: Sequence[str] = (), at_ns: int = 0) -> None:
        """Store messages, with their number of tries and the time of the next try: all of them or none.

        told: the ids of events that need no further message, as of at_ns (ns UTC).
        """
        rows = [(message.channel, message.event_id, message.event, message.made_at_ns, message.tries, message.next_at_ns)
                for message in messages]
        values = ", ".join(f"json_extract(value, '$[{at}]')" for at in range(6))

        def work(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                connection.execute("INSERT OR REPLACE INTO messages (channel, event_id, event, made_at_ns, tries, next_at_ns)"
                                   f" SELECT {values} FROM json_each(?)", (_text(rows),))
                connection.execute("INSERT OR REPLACE INTO told (event_id, at_ns) SELECT value, ? FROM json_each(?)",
                                   (at_ns, _text(told)))
        self._run("write", work)

    def delete_message(self, channel: str, event_id: str) -> None:
        """Delete a message that was sent or given up."""
        self._change("DELETE FROM messages WHERE channel = ? AND event_id = ?", (channel, event_id))

    def messages(self) -> list[StoredMessage]:
        """Return the messages of all channels, oldest first."""
        return [StoredMessage(*row) for row in self._rows(
            "SELECT channel, event_id, event, made_at_ns, tries, next_at_ns FROM messages ORDER BY made_at_ns, event_id", ())]

    def delete_messages_except(self, channels: Sequence[str]) -> int:
        """Delete the messages of all other channels; return their number."""
        return self._change("DELETE FROM messages WHERE channel NOT IN (SELECT value FROM json_each(?))",
                            (_text(channels),))

    def messages_since(self, now_ns: int, forget_before_ns: int) -> int:
        """Return since when channels get messages, in ns UTC; the first call sets it to `now_ns`.

        Forgets the events whose messages were stored before `forget_before_ns`.
        """
        self._change("INSERT OR IGNORE INTO told (event_id, at_ns) VALUES (?, ?)", (_BEGUN, now_ns))
        self._change("DELETE FROM told WHERE event_id != ? AND at_ns < ?", (_BEGUN, forget_before_ns))
        return int(self._rows("SELECT at_ns FROM told WHERE event_id = ?", (_BEGUN,))[0][0])

    def told_event_ids(self) -> list[str]:
        """Return the ids of the events whose messages were stored, oldest first."""
        return [row[0] for row in self._rows("SELECT event_id FROM told WHERE event_id != ? ORDER BY at_ns", (_BEGUN,))]


def _text(values: Sequence[object]) -> str:
    return msgspec.json.encode(values).decode()
