"""Have Python search for cyclic garbage as rarely as a long-lived process needs.

With Python's own thresholds the search begins whenever 700 more objects live, which is several times a second here, and now and
then it walks through everything that was ever imported: 25 ms during which nothing is read or stored.
"""

from __future__ import annotations

import gc

YOUNG, MIDDLE, OLD = 10_000, 20, 20  # new objects, and then searches, until the next older generation is searched


def search_rarely() -> None:
    """Leave out what lives by now in all later searches, and search less often. Call it once all parts run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
