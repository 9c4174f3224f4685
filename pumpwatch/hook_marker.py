"""The mark of a plugin's functions. It stands alone, so that a strategy's process imports little more than this."""

from __future__ import annotations

import pluggy

hookimpl = pluggy.HookimplMarker("pumpwatch")
