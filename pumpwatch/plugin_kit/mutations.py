"""Make bad frames and bodies from good ones; a plugin's functions must survive them. Every run makes the same mutations."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 0.5, 2**53 + 1, 2**63 - 1, 2**63, 2**64 + 5, -(2**63) - 1, 10**40, 1e308, "", " ", "x", "0",
    "-1", "1e3", "1e400", "NaN", "Infinity", "-0", "1,5", "0x10", "٣", "A/B", 'A"B', "A\x00B", "币安人生USDT", "S" * 200,
    "9" * 400, [], {}, [[]], [None], {"a": 1}, [1, 2, 3],
)
RAW_NUMBERS = ("1e400", "-1e400", "NaN", "Infinity", "1E5", "00", "1.", "-", "123456789012345678901234567890")
ELSEWHERE = ("", " ", "null", "true", "0", '""', "[]", "{}", "[[]]", "[{}]", "[null]", '{"a":1}', "ping", "pong", "<html></html>",
             '{"event":"other","data":[{"x":1}]}', '{"code":1,"msg":"no"}', "\x00", "\ufeff{}", '"\\ud800"', "{]", "{,}")
DEEP = 20_000
ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
PLACEHOLDER = "\ue000"  # a private character, replaced by a number that the encoder would not write
Path = tuple[Any, ...]  # keys and indexes that lead from the whole value to a place in it
Maker = Callable[[], bytes]  # makes one mutation, only if it is chosen


@dataclass(frozen=True, slots=True)
class Raw:
    """JSON text to be inserted unchanged: `1e400`, `NaN`."""

    text: str


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield every place in JSON data, beginning with the root; only the first three rows or ten values of a list."""
    yield path
    most = 3 if isinstance(value, list) and value and isinstance(value[0], (dict, list)) else 10
    inside = value.items() if isinstance(value, dict) else enumerate(value[:most]) if isinstance(value, list) else ()
    for key, inner in inside:
        yield from places(inner, (*path, key))


def at(value: Any, path: Path) -> Any:
    """Return the value at a place."""
    for key in path:
        value = value[key]
    return value


def put(value: Any, path: Path, new: Any) -> bytes:
    """Return JSON data as text, with another value at a place."""
    if isinstance(new, Raw):
        return put(value, path, PLACEHOLDER).replace(ENCODER.encode(PLACEHOLDER).encode(), new.text.encode())
    return ENCODER.encode(_with(value, path, new)).encode(errors="surrogatepass")


def without(value: Any, path: Path) -> bytes:
    """Return JSON data as text, without a place."""
    return put(value, path[:-1], _without_key(at(value, path[:-1]), path[-1]))


def mutated_frames(seeds: list[bytes], most: int = 4000) -> list[bytes]:
    """Return mutations of each seed, then unrelated frames, without duplicates."""
    made: dict[bytes, None] = {}
    quota = max(50, most // max(1, len(seeds)))  # mutations of a seed
    for number, seed in enumerate(seeds):
        makers = [*_structural(seed), *_textual(seed, random.Random(number))]
        if len(makers) > quota:
            makers = random.Random(number).sample(makers, quota)
        made.update((make(), None) for make in makers)
    made.update(dict.fromkeys(text.encode() for text in ELSEWHERE))
    made.update(dict.fromkeys((b"[" * DEEP, b'{"a":' * DEEP, b"\xff\xfe", b'{"s":"\xc3("}')))
    return [frame for frame in made if frame not in seeds]


def _structural(seed: bytes) -> Iterator[Maker]:
    """Yield mutations of the JSON value: one place left out, replaced, doubled or converted to another unit."""
    try:
        value = json.loads(seed)
    except (ValueError, RecursionError):
        return
    for path in places(value):
        old = at(value, path)
        values = [*ODD_VALUES, *map(Raw, RAW_NUMBERS)]
        yield from (partial(put, value, path, odd) for odd in values)
        if path:
            yield partial(without, value, path)
        yield from (partial(put, value, path, new) for new in _variations(old))
    yield partial(put, (), (), [value])
    yield partial(put, (), (), [value, value])


def _variations(old: Any) -> Sequence[Any]:
    """Return near values, and the same value in another unit, spelling or type."""
    if isinstance(old, int) and not isinstance(old, bool):
        return old // 10**6, old // 1000, old * 1000, old * 10**6, str(old), float(old), -old
    if isinstance(old, str):
        return old.lower(), old.upper(), old + " ", f"-{old}", [old]
    if isinstance(old, list):
        return (old * 2,)
    if isinstance(old, dict):
        return {**old, "extra": {"deep": [1, None]}, "": ""}, list(old.values())
    return ()


def _textual(seed: bytes, chance: random.Random) -> Iterator[Maker]:
    """Yield mutations of the bytes: cut off, damaged, and joined."""
    made: list[bytes] = []
    for _ in range(40):
        made.append(seed[: chance.randrange(len(seed) or 1)])
        at = chance.randrange(len(seed) or 1)
        made.append(seed[:at] + bytes([chance.randrange(256)]) + seed[at + 1:])
    made += (seed + seed, seed + b",", b" " + seed, seed + b"\x00", b"," + seed)
    return (partial(bytes, mutant) for mutant in made)


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = _with(value[path[0]], path[1:], new)
    return changed


def _without_key(value: Any, key: Any) -> Any:
    changed = dict(value) if isinstance(value, dict) else list(value)
    del changed[key]
    return changed


HTML = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Checking your browser</body></html>"
BIG = 40_000_000
MUST_REFUSE = {  # none of these is a list of rows
    "an empty body": b"", "an empty object": b"{}", "null": b"null", "a text": b'"maintenance"', "a number": b"503",
    "an error message": b'{"code":-1003,"msg":"Too many requests","retCode":10006,"retMsg":"busy","error":{"name":"busy"}}',
    "HTML": HTML, "a list of numbers": b"[1,2,3]", "half an object": b'{"data":[{"symbol":"BTC',
    "bytes that are not text": b"\xff\xfe\x00",
    "nested too deep": b"[" * DEEP,
}


@cache
def big_bodies() -> tuple[tuple[str, bytes], ...]:
    """Return bodies of 40 MB that are not a list of rows: HTML, and JSON of another kind. They are made once and kept."""
    row = b'{"other":"' + b"x" * 4000 + b'","n":[1,2,3]},'
    return (("40 MB of HTML", HTML + b" " * BIG),
            ("40 MB of other JSON", b'{"rows":[' + row * (BIG // len(row)) + b"{}]}"))


def mutated_bodies(body: bytes, most: int = 600) -> list[bytes]:
    """Return mutations of a good body, the half body first."""
    if len(body) > 20_000:  # the rows of a long list are alike, and a mutation of each would take too long
        return [body[: len(body) // 2], body[:-1], body[1:]]
    makers = [*_structural(body), *_textual(body, random.Random(7))]
    chosen = random.Random(7).sample(makers, min(most, len(makers)))
    return [body[: len(body) // 2], *(make() for make in chosen)]
