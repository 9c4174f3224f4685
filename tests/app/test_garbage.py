"""Searches for garbage."""

import gc
import subprocess
import sys

SCRIPT = """
import gc, weakref
from pumpwatch.app.garbage import YOUNG, search_rarely

class Node:
    pass

search_rarely()
assert gc.get_freeze_count() > 1000 and gc.get_threshold()[0] == YOUNG
node = Node()
node.itself, gone = node, weakref.ref(node)
del node
kept = [[number] for number in range(2 * YOUNG)]
assert gone() is None
"""


def test_what_lives_at_the_start_is_left_out_and_garbage_of_later_is_found_all_the_same():
    before = gc.get_threshold()
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=60)
    assert gc.get_threshold() == before
