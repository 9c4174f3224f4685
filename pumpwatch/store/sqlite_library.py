"""Import sqlite-utils without pandas.

sqlite-utils imports an installed pandas for column types that the journal does not use. That would cost a collector 65 MB and
half a second, so pandas counts as not installed during this import.
"""

from __future__ import annotations

import sys

_hidden = "pandas" not in sys.modules
if _hidden:
    sys.modules["pandas"] = None  # type: ignore[assignment]
try:
    from sqlite_utils import Database, Migrations
finally:
    if _hidden:
        del sys.modules["pandas"]

__all__ = ["Database", "Migrations"]
