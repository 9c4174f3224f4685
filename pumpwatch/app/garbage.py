"""Make Python search for cyclic garbage less often.

By default Python searches after every 700 new objects, which is several times a second here. Some of these searches visit every
imported object: 25 ms during which nothing is read or stored.
"""

from __future__ import annotations

import gc

YOUNG, MIDDLE, OLD = 10_000, 20, 20  # new objects, and then searches, until the next older generation is searched


def search_rarely() -> None:
    """Exclude all present objects from later searches, and search less often. Call it once all parts run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
