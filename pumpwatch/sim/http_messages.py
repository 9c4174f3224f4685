"""HTTP requests and answers as plain data, which dialects read and return. `wire` turns them into bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class HttpReply:
    """An HTTP answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HttpCall:
    """An HTTP request that reached the venue. memory: shared by all connections and REST calls of the venue."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    now_ns: int
    memory: dict[str, Any] = field(default_factory=dict)
