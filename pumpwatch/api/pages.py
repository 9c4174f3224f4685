"""The static files of the page, read once and served from memory, so that a request never opens a file."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon", ".woff2": "font/woff2",
         ".webmanifest": "application/manifest+json", ".json": "application/json"}
TEXT = "text/plain; charset=utf-8"
CHART = ("chart.js", "lightweight-charts.js", "lightweight-charts.LICENSE")  # the code that draws the archives' charts
COMPRESSIBLE = ("text/", "image/svg", "application/")


@dataclass(frozen=True, slots=True)
class Page:
    """A file. etag: of its content. gzipped: the compressed content, empty if it would not be shorter."""

    content: bytes
    content_type: str
    etag: str
    gzipped: bytes


def read_pages() -> dict[str, Page]:
    """Return the files of the folder `page` and of charts by URL path: `/` is index.html, others are at `/NAME`."""
    pages = {f"/{name}": _page(name, content) for name, content in _walk(files("pumpwatch.api") / "page", "")}
    pages |= {f"/{name}": _page(name, (files("pumpwatch.listing") / "page" / name).read_bytes()) for name in CHART}
    if "/index.html" in pages:
        pages["/"] = pages["/index.html"]
    return pages


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry.read_bytes()


def _page(name: str, content: bytes) -> Page:
    kind = next((kind for suffix, kind in TYPES.items() if name.endswith(suffix)), TEXT)
    gzipped = gzip.compress(content, 9, mtime=0) if kind.startswith(COMPRESSIBLE) else b""
    return Page(content, kind, f'"{hashlib.sha256(content).hexdigest()[:16]}"', gzipped if len(gzipped) < len(content) else b"")
