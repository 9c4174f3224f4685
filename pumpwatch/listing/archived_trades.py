"""Read the trades of an archive, after its manifest and its files were checked."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from pumpwatch.errors import StorageError
from pumpwatch.listing.archive_check import check_archive
from pumpwatch.listing.books import SUFFIX
from pumpwatch.listing.manifest import FILE, FORMAT, SymbolRow

RAW_FORMAT = "pumpwatch.raw/2"
SHOWN_FAULTS = 3
REMAKE = "make it again: pumpwatch listing replay COIN --at TIME"
NEWER = "a newer PumpWatch wrote it: update this one"

T = TypeVar("T")


class TradeColumns(msgspec.Struct):
    """Trades as columns of equal length, as described in `docs/data.md`. Times are ns UTC, quantities base units."""

    timestamp: list[int]
    symbol: list[str]
    side: list[str]
    price: list[float | None]  # null: not a finite number
    quantity: list[float | None]
    trade_id: list[str]
    sequence_number: list[int | None]
    received_at: list[int]
    flags: list[int]


class ArchivedTrades(msgspec.Struct):
    """One raw file: the trades of a coin on a venue. window: the archive's intervals, ns UTC."""

    exchange: str
    market_type: str
    coin: str
    announced_at_ns: int
    window: list[tuple[int, int]]
    symbols: list[SymbolRow]
    count: int
    trades: TradeColumns

    @property
    def venue(self) -> str:
        """Return the venue's name, such as `binance.spot`."""
        return f"{self.exchange}.{self.market_type}"


class _Format(msgspec.Struct):
    format: str = ""


def require_whole(archive: Path) -> None:
    """Compare every file with the manifest. Blocks.

    Raises UsageError for a missing folder, StorageError for an archive that differs from its manifest or is from a newer version.
    """
    if (archive / FILE).is_file():
        found = decode_file(archive / FILE, _Format).format
        if found != FORMAT:
            raise StorageError(f"{archive / FILE}: unknown format `{found:.60}`; this version reads {FORMAT}", NEWER)
    faults = check_archive(archive).faults
    if faults:
        more = f", and {len(faults) - SHOWN_FAULTS:,} more" if len(faults) > SHOWN_FAULTS else ""
        shown = "; ".join(f"{fault.file}: {fault.problem}" for fault in faults[:SHOWN_FAULTS])
        raise StorageError(f"{archive}: the archive differs from its manifest: {shown}{more}", f"copy it again, or {REMAKE}")


def trade_files(archive: Path) -> list[Path]:
    """Return the raw files of trades, one per venue, by name."""
    return [path for path in sorted((archive / "raw").glob("*/*.json")) if not path.name.endswith(SUFFIX)]


def read_trades(path: Path) -> ArchivedTrades:
    """Return the trades of one raw file. Blocks.

    Raises StorageError, which names the file, if it is unreadable, repeats a trade, or has a trade of an unlisted symbol.
    """
    found = decode_file(path, _Format).format
    if found != RAW_FORMAT:
        raise StorageError(f"{path}: unknown format `{found:.60}`; this version reads {RAW_FORMAT}",
                           NEWER if found > RAW_FORMAT else REMAKE)
    raw = decode_file(path, ArchivedTrades)
    columns = raw.trades
    lengths = {len(column) for column in msgspec.structs.astuple(columns)}
    if lengths != {raw.count}:
        counts = ", ".join(map(str, sorted(lengths)))
        raise StorageError(f"{path}: columns have {counts} trades, not {raw.count:,}", REMAKE)
    listed = {row.symbol for row in raw.symbols}
    if unlisted := set(columns.symbol) - listed:
        raise StorageError(f"{path}: it has trades of {', '.join(sorted(unlisted))}, which it does not list", REMAKE)
    # the key includes the time: the synthetic ids of a venue without ids may repeat at different times
    different = len(set(zip(columns.symbol, columns.trade_id, columns.timestamp, strict=True)))
    if different < raw.count or len(listed) < len(raw.symbols):
        raise StorageError(f"{path}: it repeats {raw.count - different:,} trades and {len(raw.symbols) - len(listed)} symbols",
                           REMAKE)
    return raw


def decode_file(path: Path, kind: type[T]) -> T:
    """Return the content of a JSON file as `kind`. Raises StorageError, which names the file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"{path}: the archive cannot be read: {error}", REMAKE) from error
