"""`python -m tests.soak [SCENARIO ...]`: long runs under faults, and the proof that nothing is lost or claimed falsely.

Scenarios: kills (kill -9 at random moments), faults (random faults of the venues), sinks (QuestDB killed, hung and suspended,
its disk and the journal's full, in turn while gaps are filled; at the end its rows are the journal's), takeovers (`collect
--replace`, one after another), cluster (ten members of a cluster, each with a light reader, are killed,
suspended, stopped and cut off from Redis, which is restarted, hung and emptied), cluster_nodes (the same with six nodes of Redis,
whose masters are killed). Each runs a collector against the simulated venues, except the last two, which have a venue and
figures of their own (tests/soak/cluster_reckoning.py). It prints one JSON object, and a table on standard error: trades sent,
stored, missing and doubled against the ground truth; missing trades that no gap names, or that are outside the bounds of what
it calls lost; minutes that the ledger calls complete although a trade of theirs is missing; and how long it took after the last
harm until every gap was done (`filled_s`). The notes of `faults` have the collector's memory and file descriptors at minute 10
and at the end. `sinks` fills only small file systems of its own; where it cannot mount them, `notes` says so in `left_out`.
Exit code 1 if any of these is not 0 that must be, or if the gaps of `kills` were not done within --filled-within. The sizes are
options.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.soak.cluster import cluster, cluster_nodes
from tests.soak.scenarios import SCENARIOS, Sizes

ALL = {**SCENARIOS, "cluster": cluster, "cluster_nodes": cluster_nodes}


def main() -> int:
    """Run the chosen scenarios, each in a folder of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("scenarios", nargs="*", choices=[*ALL, []], metavar="SCENARIO", help=", ".join(ALL))
    parser.add_argument("--rate", type=float, default=2000.0, help="trades a second, all venues together")
    parser.add_argument("--symbols", type=int, default=20, help="coins on every venue")
    parser.add_argument("--times", type=int, default=100, help="kills, takeovers, or harms to a cluster")
    parser.add_argument("--minutes", type=float, default=60.0, help="of `faults` and `sinks`")
    parser.add_argument("--filled-within", type=float, default=60.0, metavar="SECONDS",
                        help="after the last of the `kills` every gap must be done; once the collector is up again")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep everything here; else a temporary folder")
    chosen = parser.parse_args()
    sizes = Sizes(chosen.rate, chosen.symbols, chosen.times, chosen.minutes, chosen.seed, chosen.filled_within)
    good = True
    for name in chosen.scenarios or ALL:
        with tempfile.TemporaryDirectory(prefix="pumpwatch-soak-") as temporary:
            folder = (chosen.folder or Path(temporary)) / name
            folder.mkdir(parents=True, exist_ok=True)
            result = ALL[name](folder, sizes)
        print(json.dumps({"scenario": name, **result.figures()}), flush=True)
        print(f"{name}: {'good' if result.good else 'NOT GOOD'}\n{result.table()}", file=sys.stderr, flush=True)
        good &= result.good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
