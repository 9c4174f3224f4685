"""Backups in a bucket of S3, or of a server with its protocol, by boto3.

Every request has limits in time and tries, so that a server that hangs costs at most minutes. An interrupted download continues
where it stopped.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pumpwatch.backup.manifest import MOST_BYTES, NAME, OBJECT, OBJECTS
from pumpwatch.backup.plan import S3Target
from pumpwatch.backup.s3_errors import s3_errors
from pumpwatch.errors import ConfigError, ServiceUnavailable
from pumpwatch.sink_abilities import Readable

EXTRA = "boto3 is not installed; backups to S3 need it", "pip install 'pumpwatch[s3]'"
TRIES = 4  # of a request
CUTS = 5  # interruptions in a row, without a byte in between, before a download is given up


class S3Shelf:
    """Backups below a prefix of a bucket."""

    def __init__(self, target: S3Target) -> None:
        """Create the client without a request. Raises ConfigError if boto3 is missing or the endpoint is not an address."""
        self.target, self.where = target, target.url
        self.client = _client(target)

    def key(self, name: str) -> str:
        """Return the key of a manifest or an object."""
        return f"{self.target.prefix}{name}"

    def manifests(self) -> list[str]:
        return sorted(name for name in self._list("backup-") if NAME.fullmatch(name))

    def holds(self, name: str) -> bool:
        """Return whether an object of that name exists."""
        return name in self._list(name)

    def sizes(self) -> dict[str, int]:
        return {name: size for name, size in self._list(OBJECTS).items() if OBJECT.fullmatch(name)}

    def read(self, name: str) -> bytes:
        with self.open(name) as body:
            content = bytearray()
            while len(content) < MOST_BYTES and (piece := body.read(1 << 20)):
                content += piece
        return bytes(content)

    @contextmanager
    def open(self, name: str) -> Iterator[Readable]:
        body = _Download(self, name)
        try:
            yield body
        finally:
            body.close()

    def remove(self, names: Sequence[str]) -> None:
        with s3_errors(self.target, "removing old backups"):
            for name in names:
                self.client.delete_object(Bucket=self.target.bucket, Key=self.key(name))

    def _list(self, prefix: str) -> dict[str, int]:
        found: dict[str, int] = {}
        with s3_errors(self.target, "listing"):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.target.bucket, Prefix=self.key(prefix))
            for page in pages:
                for row in page.get("Contents", ()):
                    found[str(row["Key"])[len(self.target.prefix):]] = int(row["Size"])
        return found


class _Download:
    """The body of an object; after an interruption it is requested again from there."""

    def __init__(self, shelf: S3Shelf, name: str) -> None:
        self._shelf, self._name = shelf, name
        self._at, self._cuts, self._size, self._etag = 0, 0, -1, ""
        self._body: Any = None
        self._open()

    def _open(self) -> None:
        shelf: S3Shelf = self._shelf
        options: dict[str, str] = {}
        if self._at:
            options = {"Range": f"bytes={self._at}-", "IfMatch": self._etag}
        with s3_errors(shelf.target, f"reading {self._name}"):
            answer = shelf.client.get_object(Bucket=shelf.target.bucket, Key=shelf.key(self._name), **options)
        self._body, self._etag = answer["Body"], answer["ETag"]
        if not self._at:
            self._size = int(answer["ContentLength"])

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes. Raises ServiceUnavailable after CUTS interruptions in a row."""
        while self._at < self._size:
            try:
                with s3_errors(self._shelf.target, f"reading {self._name}"):
                    if self._body is None:
                        self._open()
                    piece = bytes(self._body.read(size if size > 0 else 1 << 20))
                if piece:
                    self._at += len(piece)
                    self._cuts = 0
                    return piece
                self.close()  # it ended before its length
            except ServiceUnavailable:
                self.close()
                if self._cuts >= CUTS:
                    raise
            self._cuts += 1
            if self._cuts > CUTS:
                raise ServiceUnavailable(f"{self._shelf.where}: {self._name} was cut off {CUTS} times in a row",
                                         "try again later")
        return b""

    def close(self) -> None:
        """End the request."""
        if self._body is not None:
            self._body.close()
            self._body = None


@functools.cache
def _session() -> Any:
    """Return a shared session for clients with keys, which loads the megabytes of S3's description only once."""
    import boto3

    return boto3.session.Session()


def _client(target: S3Target) -> Any:
    try:
        import boto3
        import botocore.config
    except ImportError:
        raise ConfigError(*EXTRA) from None
    limits = botocore.config.Config(
        signature_version="s3v4", connect_timeout=target.timeout_s, read_timeout=target.timeout_s,
        retries={"mode": "standard", "total_max_attempts": TRIES},
        s3={"addressing_style": "path" if target.path_style else "auto"},
        # the newer checksums are unknown to many servers; Content-MD5 goes with each upload
        request_checksum_calculation="when_required", response_checksum_validation="when_required")
    keys = {"aws_access_key_id": target.access_key, "aws_secret_access_key": target.secret_key} if target.access_key else {}
    session = _session() if keys else boto3.session.Session()  # new: looks up the environment's keys
    try:
        return session.client("s3", endpoint_url=target.endpoint or None, verify=target.ca_file or None, config=limits,
                              region_name=target.region or session.region_name or "us-east-1", **keys)
    except ValueError as error:
        raise ConfigError(f"backup.s3.endpoint: {error}", "give an address such as https://s3.example.com") from error
