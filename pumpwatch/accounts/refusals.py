"""Errors of the account ledger. A refused command changes nothing."""

from __future__ import annotations

from pumpwatch.errors import ConfigError, ServiceUnavailable, StorageError, UsageError


class LedgerRefusal(UsageError):
    """Leave the ledger as it is: the command cannot be carried out."""


class InvalidValue(LedgerRefusal):
    """Refuse an invalid value: a number that is not an amount, an empty id, an unknown word."""


class UnknownId(LedgerRefusal):
    """Refuse a user, account, order or position that the ledger does not have."""


class DuplicateId(LedgerRefusal):
    """Refuse an id that the ledger has already."""


class Overdraft(LedgerRefusal):
    """Refuse to spend more than is available."""


class WrongState(LedgerRefusal):
    """Refuse a step that an order or position does not allow in its state."""


class ConflictError(ServiceUnavailable):
    """Repeat the transaction: another writer changed the same account meanwhile."""


class NewerLedgerError(ConfigError):
    """Refuse to open: a newer version wrote the ledger, and this one would lose its additions."""


class DamagedLedgerError(StorageError):
    """Refuse to continue: a part of the ledger cannot be read."""
