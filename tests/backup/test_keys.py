"""Encryption: opened by the right identity, by no other, and every mistake is one clear message."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pyrage
import pytest

from pumpwatch.backup.checking import check_backup
from pumpwatch.backup.keys import decrypt, encrypt, identities_of, recipients_of
from pumpwatch.backup.make import make, would_write
from pumpwatch.backup.places import manifests_of
from pumpwatch.backup.plan import BackupPlan
from pumpwatch.backup.restore import restore
from pumpwatch.backup.shelf import FolderShelf
from pumpwatch.errors import ConfigError, StorageError
from tests.ops.data_folder import everything


def key_file(path: Path) -> tuple[str, str]:
    """Write an identity as age-keygen does; return the file and its recipient."""
    identity = pyrage.x25519.Identity.generate()
    path.write_text(f"# created: today\n# public key: {identity.to_public()}\n{identity}\n")
    path.chmod(0o600)
    return str(path), str(identity.to_public())


def test_an_encrypted_backup_needs_its_identity(plan: BackupPlan, stored: Path, tmp_path: Path) -> None:
    (right, recipient), (wrong, _) = key_file(tmp_path / "right"), key_file(tmp_path / "wrong")
    encrypted = msgspec.structs.replace(plan, recipients=[recipient])
    make(encrypted)
    shelf = FolderShelf(Path(plan.folder))
    manifest = manifests_of(shelf, "")[0]
    assert manifest.encrypted and all(row.object.endswith(".zst.age") for row in manifest.files)
    segment = next((stored / "journal").glob("*.sqlite")).read_bytes()
    assert not any(segment[:16] in path.read_bytes() for path in (shelf.folder / "objects").rglob("*.age"))
    assert list(check_backup(shelf, manifest, identities_of(right), shelf.sizes())) == []
    assert list(check_backup(shelf, manifest, [], shelf.sizes())) == []  # by size
    for identities, said in (([], "no identity was given"), (identities_of(wrong), "none of the identities opens it")):
        with pytest.raises(ConfigError, match=said):
            restore(shelf, manifest, tmp_path / "again", identities)
    restore(shelf, manifest, tmp_path / "again", identities_of(right))
    assert len(everything(tmp_path / "again")) == 10_000
    assert make(encrypted).trades == 10_000


def test_recipients_that_come_later_encrypt_the_unchanged_files_too(plan: BackupPlan, tmp_path: Path) -> None:
    _, recipient = key_file(tmp_path / "key")
    make(plan)
    plain = manifests_of(FolderShelf(Path(plan.folder)), "")[0]
    assert not plain.encrypted
    encrypted = msgspec.structs.replace(plan, recipients=[recipient])
    assert not any(row["unchanged"] for row in would_write(encrypted))
    made = make(encrypted)
    later = manifests_of(FolderShelf(Path(plan.folder)), made.name)[0]
    assert {row.name for row in later.files} == {row.name for row in plain.files}
    assert later.encrypted and all(row.object.endswith(".zst.age") for row in later.files)
    again = manifests_of(FolderShelf(Path(plan.folder)), make(plan).name)[0]
    assert not again.encrypted and all(row.object.endswith(".zst") for row in again.files)


def test_a_damaged_object_is_damaged_and_not_a_wrong_key(plan: BackupPlan, tmp_path: Path) -> None:
    file, recipient = key_file(tmp_path / "key")
    make(msgspec.structs.replace(plan, recipients=[recipient]))
    shelf = FolderShelf(Path(plan.folder))
    manifest = manifests_of(shelf, "")[0]
    path = shelf.folder / max(manifest.files, key=lambda row: row.stored_bytes).object
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match="damaged"):
        restore(shelf, manifest, tmp_path / "again", identities_of(file))


@pytest.mark.parametrize(("content", "mode", "said"), [
    ("nonsense", 0o600, "does not hold an identity"), ("", 0o600, "is empty"), ("# only words", 0o600, "is empty"),
    ("AGE-SECRET-KEY-1", 0o644, "readable by others"), (None, 0, "cannot read")])
def test_an_identity_file_that_cannot_serve_says_why(tmp_path: Path, content: str | None, mode: int, said: str) -> None:
    if content is not None:
        (tmp_path / "key").write_text(content)
        (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigError, match=f"backup.identity_file: .*{said}"):
        identities_of(str(tmp_path / "key"))


def test_a_recipient_that_is_cut_off_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not a recipient"):
        recipients_of(["age1qqqq"])


class Refusing:
    def write(self, piece: bytes) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_stays_one() -> None:
    identity = pyrage.x25519.Identity.generate()
    with pytest.raises(OSError, match="No space left"):
        encrypt(io.BytesIO(bytes(1000)), Refusing(), [identity.to_public()])
    whole = io.BytesIO()
    encrypt(io.BytesIO(bytes(200_000)), whole, [identity.to_public()])
    whole.seek(0)
    with pytest.raises(OSError, match="No space left"):
        decrypt(whole, Refusing(), [identity], "x")
