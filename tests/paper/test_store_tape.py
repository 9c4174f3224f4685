"""A tape from the store is that of the archive that `listing replay` makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.clock import Clock
from pumpwatch.errors import PumpWatchError
from pumpwatch.listing.replay import replay
from pumpwatch.paper.archive_tape import read_tape
from pumpwatch.paper.store_tape import store_tape
from tests.listing.machine import ANNOUNCED_NS, data_folder
