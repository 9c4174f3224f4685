"""sqlite-utils without pandas.

sqlite-utils imports pandas where it is installed, for column types that the journal does not have. That costs a collector 65 MB
and half a second. While sqlite-utils is imported here, pandas counts as not installed.
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
