"""The ledger's table of messages: those that a channel has not taken yet, so that a restart goes on with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec


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

    def _rows(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def _change(self, sql: str, values: Sequence[object]) -> int:
        raise NotImplementedError

    def store_messages(self, messages: Sequence[StoredMessage]) -> None:
        """Store messages, or how often they have been tried and when the next try is: all of them or none."""
        rows = [(message.channel, message.event_id, message.event, message.made_at_ns, message.tries, message.next_at_ns)
                for message in messages]
        values = ", ".join(f"json_extract(value, '$[{at}]')" for at in range(6))
        self._change("INSERT OR REPLACE INTO messages (channel, event_id, event, made_at_ns, tries, next_at_ns)"
                     f" SELECT {values} FROM json_each(?)", (msgspec.json.encode(rows).decode(),))

    def delete_message(self, channel: str, event_id: str) -> None:
        """Delete a message: the channel has taken it, or it is given up."""
        self._change("DELETE FROM messages WHERE channel = ? AND event_id = ?", (channel, event_id))

    def messages(self) -> list[StoredMessage]:
        """Return the messages of all channels, oldest first."""
        return [StoredMessage(*row) for row in self._rows(
            "SELECT channel, event_id, event, made_at_ns, tries, next_at_ns FROM messages ORDER BY made_at_ns, event_id", ())]

    def delete_messages_except(self, channels: Sequence[str]) -> int:
        """Delete the messages of all other channels; return how many there were."""
        return self._change("DELETE FROM messages WHERE channel NOT IN (SELECT value FROM json_each(?))",
                            (msgspec.json.encode(channels).decode(),))
