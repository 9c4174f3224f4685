"""QuestDB as a sink: rows of trades made by its own client, everything else by SQL, all of it over HTTP.

Documents: questdb.com/docs (ILP, DDL, REST) and the client's own; tried with server 9.3.4 and client 6.0.0, checked 2026-11-27.
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
