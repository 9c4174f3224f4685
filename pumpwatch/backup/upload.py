"""Copy backups to S3: the objects that the bucket lacks, then the manifest, so that a backup there is whole or not there.

An object goes up in parts. S3 keeps the parts of an upload that was cut off, with the MD5 of each: the next try sends only those
that are missing or differ. S3 checks the MD5 of everything that it takes.
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
from pumpwatch.backup.shelf import OWNER, FolderShelf
from pumpwatch.errors import ServiceUnavailable, UsageError

log = logging.getLogger(__name__)


def upload(shelf: FolderShelf, bucket: S3Shelf, since_ns: int = 0) -> int:
    """Copy every backup of a folder that the bucket lacks, oldest first; return the bytes that were sent.

    Those made before `since_ns` are left out, but for the newest: the bucket's retention would remove them at once. Raises
    ConfigError or ServiceUnavailable: what was sent stays, and the next call goes on from there. Raises UsageError where another
    collector's backups lie there.
    """
    _claim(bucket, shelf)
    there, names, sent = set(bucket.manifests()), shelf.manifests(), 0
    missing = [name for name in names if name not in there]
    if not missing:
        return 0
    sizes = bucket.sizes()
    for name in missing:
        content = shelf.read(name)
        manifest = decode(content, f"{shelf.folder / name}")
        if manifest.made_at_ns < since_ns and name != names[-1]:
            continue
        for part, size in sorted(manifest.objects.items()):
            if sizes.get(part) != size:
                sent += _put_object(bucket, part, shelf.folder / part, size)
                sizes[part] = size
        _put(bucket, name, content)
        sent += len(content)
    _end_others(bucket)
    return sent


def _claim(bucket: S3Shelf, shelf: FolderShelf) -> None:
    """Mark the prefix as that of this folder of backups. Raises UsageError where it has the mark of another one.

    Two folders would remove the objects of each other's backups.
    """
    ours = shelf.owner()
    there = bucket.owner()
    if not there:
        _put(bucket, OWNER, ours.encode())
    elif there.split()[0] != ours.split()[0]:
        raise UsageError(f"{bucket.where}: another collector's backups are there, of {there.partition(' ')[2]}",
                         f"give each collector a prefix of its own in backup.s3.url, or remove {OWNER} there if that one has"
                         " ended")


def _put_object(bucket: S3Shelf, name: str, path: Path, size: int) -> int:
    """Send one object and return the bytes that were sent."""
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
    number_of, stored = _unfinished(bucket, key)
    if not number_of:
        number_of = str(client.create_multipart_upload(**place)["UploadId"])
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
            answer = client.upload_part(**place, UploadId=number_of, PartNumber=number, Body=piece, ContentMD5=encoded)
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            sent += len(piece)
    if sent < size:
        log.info("upload went on where it was cut off object=%s bytes=%d of=%d", path.name, sent, size)
    client.complete_multipart_upload(**place, UploadId=number_of, MultipartUpload={"Parts": parts})
    return sent


def _unfinished(bucket: S3Shelf, key: str) -> tuple[str, dict[int, Any]]:
    """Return the upload of a key that was cut off, and its parts by number; "" without one."""
    client, place = bucket.client, {"Bucket": bucket.target.bucket}
    found = [row for page in client.get_paginator("list_multipart_uploads").paginate(**place, Prefix=key)
             for row in page.get("Uploads", ()) if row["Key"] == key]
    if not found:
        return "", {}
    last = str(max(found, key=lambda row: row["Initiated"])["UploadId"])
    pages = client.get_paginator("list_parts").paginate(**place, Key=key, UploadId=last)
    return last, {int(part["PartNumber"]): part for page in pages for part in page.get("Parts", ())}


def _end_others(bucket: S3Shelf) -> None:
    """End uploads below the prefix that nothing will go on with: every object is there now."""
    place = {"Bucket": bucket.target.bucket}
    with s3_errors(bucket.target, "ending old uploads"):
        for page in bucket.client.get_paginator("list_multipart_uploads").paginate(**place, Prefix=bucket.key("objects/")):
            for row in page.get("Uploads", ()):
                bucket.client.abort_multipart_upload(**place, Key=row["Key"], UploadId=row["UploadId"])


def _md5(content: bytes) -> tuple[str, str]:
    digest = hashlib.md5(content, usedforsecurity=False)
    return digest.hexdigest(), b64encode(digest.digest()).decode()
