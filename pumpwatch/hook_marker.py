"""The decorator of a plugin's hooks, in a module of its own, so that the process of a strategy imports little else."""

from __future__ import annotations

import pluggy

hookimpl = pluggy.HookimplMarker("pumpwatch")
