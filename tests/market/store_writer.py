"""`python -m tests.market.store_writer FOLDER TASK`: writes candles until it is killed; prints the number of each finished write.

TASK is done after each write: nothing, pack, retention or vacuum; with `longer`
a write makes the longer candles as well. Write n holds the candle of minute n of each series, and
rows of another series that retention removes and whose pages vacuum gives back.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pumpwatch.market.aggregate import write_minutes
from pumpwatch.market.candle_columns import CandleColumns, Series
from pumpwatch.market.intervals import INTERVALS_NS
from pumpwatch.market.sqlite_store import SqliteCandleStore
from tests.market.store_contract import START, candles

SERIES: list[Series] = [("binance", "spot", f"C{number}USDT") for number in range(20)]
PASSING: Series = ("binance", "spot", "PASSING")
PASSING_STEP = INTERVALS_NS["5m"]


def rows_of(number: int) -> CandleColumns:
    """Return the candles of one write."""
    return candles([number] * len(SERIES), list(range(len(SERIES))))


def main(folder: Path, task: str) -> None:
    """Write for ever."""
    store = SqliteCandleStore(folder)
    number = int(store.marks().get("written", "-1"))
    while True:
        number += 1
        if task == "longer":
            write_minutes(store, SERIES, rows_of(number), START, marks={"written": str(number)})
        else:
            store.write("1m", SERIES, rows_of(number), {"written": str(number)})
        print(number, flush=True)
        if task == "pack":
            store.pack("1m", START + number * INTERVALS_NS["1m"])
        elif task in ("retention", "vacuum"):
            store.write("5m", [PASSING], candles(list(range(0, 30_000, 10)), step=PASSING_STEP))
            store.remove_before("5m", START + 20_005 * PASSING_STEP)
        if task == "vacuum":
            store.file.connection.execute("VACUUM" if number % 2 else "PRAGMA incremental_vacuum(20)").fetchall()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
