"""Every error that PumpWatch raises on purpose.

The class says how the program reacts, the message says what happened and where, and the hint says how to fix it. Exit codes
are stable: scripts may rely on them.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FOUND = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 69
EXIT_DISK = 74
EXIT_CONFIG = 78
EXIT_INTERRUPTED = 130


class PumpWatchError(Exception):
    """The root of the tree: a message that a person can act on."""

    exit_code = EXIT_FOUND

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(PumpWatchError):
    """Reject the command: its arguments are wrong."""

    exit_code = EXIT_USAGE


class ConfigError(PumpWatchError):
    """Refuse to start: the configuration is invalid."""

    exit_code = EXIT_CONFIG


class PluginError(ConfigError):
    """Leave this plugin out, log its name, and go on with the others."""


class ServiceUnavailable(PumpWatchError):
    """Back off and try again: an exchange, a sink or a source cannot be reached."""

    exit_code = EXIT_UNAVAILABLE


class StorageError(PumpWatchError):
    """Keep the data in memory and log it: the disk, or a file on it, cannot be used."""

    exit_code = EXIT_DISK


class Interrupted(PumpWatchError):
    """Stop because a person pressed Ctrl-C, and print what is left undone."""

    exit_code = EXIT_INTERRUPTED


class BadFrame(PumpWatchError):
    """Quarantine the frame: it is neither a trade nor a known control message."""


# the errors that a plugin's pure function may raise on unexpected input; msgspec's errors are ValueErrors
REFUSALS = (BadFrame, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
