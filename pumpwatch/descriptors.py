"""Close file descriptors at once.

gevent replaces `os.close`: in a thread that has a hub, a pipe, socket or folder is closed only when that hub runs next. If the
thread blocks, the reader at the other end waits forever, and descriptors pile up.
"""

from __future__ import annotations

from collections.abc import Callable

from gevent.monkey import get_original

close_now: Callable[[int], None] = get_original("os", "close")
