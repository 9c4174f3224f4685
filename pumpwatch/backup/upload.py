"""Copy backups to S3: missing objects first, then the manifest, so that a backup there is complete or does not exist.

A large object is sent in parts. S3 keeps the parts of an interrupted upload with their MD5, and the next try sends only parts
that are missing or differ. S3 checks the MD5 of everything that it stores.
"""

from __future__ import annotations

import hashlib
import logging
from base64 import b64encode
from pathlib import Path
from typing import Any

from pumpwatch.backup.manifest import decode
from pumpwatch.backup.s3 import S3Shelf
from pumpwatch.backup.s3_errors import s3_errors
from pumpwatch.backup.shelf import FolderShelf
from pumpwatch.errors import ConfigError, ServiceUnavailable

log = logging.getLogger(__name__)

OWNER = "owner"  # the object below the prefix that names the owner of the backups
MOST_OWNER_BYTES = 200


def claim(bucket: S3Shelf, owner: str) -> None:
    """Record the owner of the backups below the prefix. Raises ConfigError if they are another collector's.

    Each collector removes objects that its own backups do not need, so two must not share a prefix. owner: the identity of the
    ledger, which a restored folder keeps; empty if it is unknown, and then nothing is recorded.
    """
    if not owner:
        return
    if bucket.holds(OWNER):
        with bucket.open(OWNER) as body:
            there = body.read(MOST_OWNER_BYTES).decode("utf-8", "replace").strip()
        if there != owner:
            raise ConfigError(f"{bucket.where} holds the backups of another collector ({there}, this one is {owner})",
                              f"give each collector its own prefix; if the other collector is gone for good, remove "
                              f"{bucket.key(OWNER)}")
    else:
        _put(bucket, OWNER, owner.encode())


def upload(shelf: FolderShelf, bucket: S3Shelf, since_ns: int = 0, *, only_encrypted: bool = False) -> int:
    """Copy every backup of a folder that the bucket does not have, oldest first; return the bytes that were sent.

    since_ns: backups made before it are left out, except the newest, because the bucket would not keep them. only_encrypted:
    plain backups, from before the config had recipients, are left out. Raises ConfigError or ServiceUnavailable: sent objects
    stay, and the next call continues.
    """
    there, sent, names = set(bucket.manifests()), 0, shelf.manifests()

    def is_wanted(name: str) -> bool:
        manifest = decode(shelf.read(name), f"{shelf.folder / name}")
        return (name == names[-1] or manifest.made_at_ns >= since_ns) and (manifest.encrypted or not only_encrypted)

    missing = [name for name in names if name not in there and is_wanted(name)]
    if not missing:
        return 0
    sizes = bucket.sizes()
    for name in missing:
        content = shelf.read(name)
        for part, size in sorted(decode(content, f"{shelf.folder / name}").objects.items()):
            if sizes.get(part) != size:
                sent += _put_object(bucket, part, shelf.folder / part, size)
                sizes[part] = size
        _put(bucket, name, content)
        sent += len(content)
    _end_others(bucket)
    return sent


def _put_object(bucket: S3Shelf, name: str, path: Path, size: int) -> int:
    """Send one object; return the number of sent bytes."""
    if size <= bucket.target.part_bytes:
        content = path.read_bytes()
        _put(bucket, name, content)
        return len(content)
    with s3_errors(bucket.target, f"uploading {name}"):
        sent = _put_parts(bucket, bucket.key(name), path, size)
        stored = int(bucket.client.head_object(Bucket=bucket.target.bucket, Key=bucket.key(name))["ContentLength"])
    if stored != size:
        bucket.remove([name])
        raise ServiceUnavailable(f"{bucket.where}{name}: {stored:,} bytes are stored, {size:,} were sent", "try again")
    return sent


def _put(bucket: S3Shelf, name: str, content: bytes) -> None:
    with s3_errors(bucket.target, f"uploading {name}"):
        bucket.client.put_object(Bucket=bucket.target.bucket, Key=bucket.key(name), Body=content, ContentMD5=_md5(content)[1])


def _put_parts(bucket: S3Shelf, key: str, path: Path, size: int) -> int:
    client, place = bucket.client, {"Bucket": bucket.target.bucket, "Key": key}
    upload_id, stored = _unfinished(bucket, key)
    if not upload_id:
        upload_id = str(client.create_multipart_upload(**place)["UploadId"])
    parts: list[dict[str, Any]] = []
    sent = 0
    with path.open("rb") as file:
        while piece := file.read(bucket.target.part_bytes):
            number = len(parts) + 1
            digest, encoded = _md5(piece)
            known = stored.get(number)
            if known is not None and (known["Size"], known["ETag"].strip('"')) == (len(piece), digest):
                parts.append({"PartNumber": number, "ETag": known["ETag"]})
                continue
            answer = client.upload_part(**place, UploadId=upload_id, PartNumber=number, Body=piece, ContentMD5=encoded)
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            sent += len(piece)
    if sent < size:
        log.info("interrupted upload continued object=%s bytes=%d of=%d", path.name, sent, size)
    client.complete_multipart_upload(**place, UploadId=upload_id, MultipartUpload={"Parts": parts})
    return sent


def _unfinished(bucket: S3Shelf, key: str) -> tuple[str, dict[int, Any]]:
    """Return the id of the interrupted upload of a key, and its parts by number; "" without one."""
    client, place = bucket.client, {"Bucket": bucket.target.bucket}
    found = [row for page in client.get_paginator("list_multipart_uploads").paginate(**place, Prefix=key)
             for row in page.get("Uploads", ()) if row["Key"] == key]
    if not found:
        return "", {}
    last = str(max(found, key=lambda row: row["Initiated"])["UploadId"])
    pages = client.get_paginator("list_parts").paginate(**place, Key=key, UploadId=last)
    return last, {int(part["PartNumber"]): part for page in pages for part in page.get("Parts", ())}


def _end_others(bucket: S3Shelf) -> None:
    """End unfinished uploads below the prefix: every object is stored now, so nothing will continue them."""
    place = {"Bucket": bucket.target.bucket}
    with s3_errors(bucket.target, "ending old uploads"):
        for page in bucket.client.get_paginator("list_multipart_uploads").paginate(**place, Prefix=bucket.key("objects/")):
            for row in page.get("Uploads", ()):
                bucket.client.abort_multipart_upload(**place, Key=row["Key"], UploadId=row["UploadId"])


def _md5(content: bytes) -> tuple[str, str]:
    digest = hashlib.md5(content, usedforsecurity=False)
    return digest.hexdigest(), b64encode(digest.digest()).decode()
