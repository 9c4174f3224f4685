"""QuestDB as a sink. QuestDB's client builds the rows of trades; everything else is SQL; all of it uses HTTP.

Documents: questdb.com/docs (ILP, DDL, REST) and those of the client; tested with server 9.3.4 and client 6.0.0, checked
2026-11-27.
"""

from __future__ import annotations

from pumpwatch_plugins.sinks.questdb.options import QuestDBOptions
from pumpwatch_plugins.sinks.questdb.sink import QuestDBSink

from pumpwatch import SinkPlugin, hookimpl

__all__ = ["QuestDBOptions", "QuestDBSink"]


@hookimpl
def sinks() -> list[SinkPlugin]:
    """Return the QuestDB sink."""
    return [SinkPlugin("questdb", QuestDBOptions, QuestDBSink)]
