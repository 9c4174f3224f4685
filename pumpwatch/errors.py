"""Every error PumpWatch raises on purpose.

The class says what the program does about it, the message says what happened and where,
the hint says how to mend it. Exit codes are stable; scripts may rely on them.
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
    """Root of the tree: one message a person can act on."""

    exit_code = EXIT_FOUND

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(PumpWatchError):
    """Refuse the command: its words are wrong."""

    exit_code = EXIT_USAGE


class ConfigError(PumpWatchError):
    """Refuse to start: the configuration cannot be meant."""

    exit_code = EXIT_CONFIG


class PluginError(ConfigError):
    """Leave this plugin out, name it, and run on with the rest."""


class ServiceUnavailable(PumpWatchError):
    """Back off and try again: an exchange, a sink or a source is not there."""

    exit_code = EXIT_UNAVAILABLE


class StorageError(PumpWatchError):
    """Keep what is in memory and say so: the disk or a file on it refuses."""

    exit_code = EXIT_DISK


class Interrupted(PumpWatchError):
    """End, as a person asked by Ctrl-C, and say what is left."""

    exit_code = EXIT_INTERRUPTED


class BadFrame(PumpWatchError):
    """Quarantine the frame: it is neither a trade nor known control."""


# What a plugin's pure function may raise on input it was not made for; msgspec's errors are ValueErrors.
REFUSALS = (BadFrame, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
