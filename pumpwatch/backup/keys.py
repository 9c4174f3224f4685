"""Encrypt objects to the config's recipients and decrypt them with an identity file, in the format of age, by pyrage.

The collector's machine needs only the recipients, so a copy of its disk does not open its backups.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pumpwatch.errors import ConfigError, StorageError

EXTRA = "pyrage is not installed; encryption of backups needs it", "pip install 'pumpwatch[s3]'"
LARGEST_BYTES = 65_536


def _pyrage() -> Any:
    try:
        import pyrage
        import pyrage.ssh
        import pyrage.x25519
    except ImportError:
        raise ConfigError(*EXTRA) from None
    return pyrage


def recipients_of(texts: Sequence[str]) -> list[Any]:
    """Return the recipients of a config: age1... or SSH public keys. Raises ConfigError for an invalid one."""
    if not texts:
        return []
    pyrage, found = _pyrage(), []
    for text in texts:
        kind = pyrage.ssh.Recipient if text.startswith("ssh-") else pyrage.x25519.Recipient
        try:
            found.append(kind.from_str(text))
        except (pyrage.RecipientError, ValueError) as error:
            raise ConfigError(f"backup.recipients: {text[:20]}... is not a recipient: {error}",
                              "copy the whole public key, as `age-keygen` prints it") from error
    return found


def identities_of(file: str) -> list[Any]:
    """Return the identities of a file: AGE-SECRET-KEY- lines, or one SSH private key; none without a file.

    Raises ConfigError if the file cannot be read, or if every user can read it.
    """
    if not file:
        return []
    pyrage, path = _pyrage(), Path(file)
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()[:LARGEST_BYTES]
    except OSError as error:
        raise ConfigError(f"backup.identity_file: cannot read {path}: {error.strerror}") from error
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigError(f"backup.identity_file: {path} is readable by others", f"chmod 600 {path}")
    try:
        if b"PRIVATE KEY-----" in content:
            return [pyrage.ssh.Identity.from_buffer(content)]
        lines = [line.strip() for line in content.decode().splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except (pyrage.IdentityError, ValueError):
        raise ConfigError(f"backup.identity_file: {path} does not hold an identity",
                          "give the file that `age-keygen -o` wrote") from None
    if not found:
        raise ConfigError(f"backup.identity_file: {path} is empty", "give the file that `age-keygen -o` wrote")
    return found


class _Carrier:
    """Passes calls on and keeps the first error, of which pyrage reports only the text."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return bytes(self._inner.read(size))
        except Exception as error:
            self.error = self.error or error
            raise

    def write(self, piece: bytes) -> int:
        try:
            self._inner.write(piece)
        except Exception as error:  # zstd has a class of its own
            self.error = self.error or error
            raise
        return len(piece)

    def flush(self) -> None:
        """Do nothing: the caller flushes."""


def encrypt(source: Any, target: Any, recipients: Sequence[Any]) -> None:
    """Encrypt a stream. Raises the error of source or target as it is."""
    pyrage, reader, writer = _pyrage(), _Carrier(source), _Carrier(target)
    try:
        pyrage.encrypt_io(reader, writer, recipients)
    except (pyrage.EncryptError, OSError):
        raise (reader.error or writer.error or StorageError("encryption failed")) from None
    if cause := reader.error or writer.error:
        raise cause  # pyrage ignores what a target raises


def decrypt(source: Any, target: Any, identities: Sequence[Any], name: str) -> None:
    """Decrypt a stream. Raises ConfigError if no identity opens it, StorageError if it is damaged."""
    if not identities:
        raise ConfigError(f"{name} is encrypted, and no identity was given",
                          "give --identity FILE, or set backup.identity_file")
    pyrage, reader, writer = _pyrage(), _Carrier(source), _Carrier(target)
    try:
        pyrage.decrypt_io(reader, writer, identities)
    except (pyrage.DecryptError, OSError) as error:
        if cause := reader.error or writer.error:
            raise cause from None
        if "No matching keys" in str(error):
            raise ConfigError(f"{name}: none of the identities opens it",
                              "give the identity of one of its recipients: --identity FILE") from error
        raise StorageError(f"{name} is damaged: {error}") from error
    if cause := reader.error or writer.error:
        raise cause
