"""Drills: `pumpwatch listing fake COIN` drops a made-up notice into a running collector through this folder.

A dropped notice is a small JSON file in `<store.dir>/inbox`, written whole or not at all. It is handled like a notice of a
board: validated, judged by the rules of the board that it names, stored once, then window, archive and messages. Its listing is
marked as a drill everywhere. It is not stored among the board's notices and does not count towards the board's limit of
windows, so a drill neither hides nor delays a real notice.

Anything else in the folder, such as a directory, a pipe, a link or a huge file, is renamed to `.rejected` and delays nothing.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import Config
from pumpwatch.descriptors import close_now
from pumpwatch.errors import BadFrame, StorageError, UsageError
from pumpwatch.hookspecs import MarketSource, NoticeSource
from pumpwatch.listing.context import IntakeContext
from pumpwatch.listing.listing_ledger import Call, call_here
from pumpwatch.listing.quarantine import Quarantine
from pumpwatch.listing.registry import ListingRegistry
from pumpwatch.listing.title_grammar import MAX_TITLE
from pumpwatch.listing.validation import RejectedRow, check_listing, checked_coin, checked_verdict, isolated
from pumpwatch.model import Listing, Notice
from pumpwatch.plugins import Plugins
from pumpwatch.printable import printable
from pumpwatch.store.evidence import SEEN, Evidence
from pumpwatch.store.sqlite import make_private, private_folder

log = logging.getLogger(__name__)

SOURCE = "fake"
LARGEST_BYTES = 65_536
NAMES_PER_LOOK, FILES_PER_LOOK = 10_000, 100


class NoticeFile(msgspec.Struct, forbid_unknown_fields=True):
    """The content of a file in the inbox."""

    notice_id: str
    symbol: str
    announced_at_ns: int
    title: str = ""
    source: str = ""  # the board whose rules judge it; empty: none


def coin_name(text: str) -> str:
    """Return a coin's name as archives and exchanges write it. Raises UsageError."""
    try:
        return checked_coin(text.strip())
    except BadFrame:
        raise UsageError(f"`{printable(text)}` is not a coin",
                         "give its ticker: letters and digits, as in PEPE or 1INCH") from None


def inbox_folder(config: Config) -> Path:
    """Return the inbox folder of a config."""
    return Path(config.store.dir) / "inbox"


def drop(config: Config, coin: str, *, title: str = "", source: NoticeSource | None = None, delay_s: float = 0.0,
         clock: Clock | None = None) -> dict[str, Any]:
    """Put a notice for this coin, dated `delay_s` seconds ago, into the inbox; a running collector takes it within a second.

    source: the board whose rules judge the title; the default title is the board's `drill_title`. Returns notice_id, symbol,
    announced_at_ns, title, source and file. Raises UsageError for an invalid coin, a title that is too long or missing, or a
    delay longer than trades are kept; StorageError if the file cannot be written.
    """
    now_ns = (clock or Clock()).now_ns()
    if not 0 <= delay_s <= config.store.retention_hours * 3600:
        raise UsageError(f"a delay of {delay_s:g} s is longer than trades are kept",
                         f"give 0 to {config.store.retention_hours * 3600:g}: store.retention_hours")
    if source is not None and not (title or source.drill_title):
        raise UsageError(f"the plugin of `{printable(source.name)}` has no title for a drill", "give one with --title")
    if len(title) > MAX_TITLE:
        raise UsageError(f"the title has {len(title)} characters", f"give at most {MAX_TITLE}")
    coin = coin_name(coin)
    title = title or (source.drill_title.replace("{coin}", coin) if source is not None else f"{coin}: a drill")
    notice = NoticeFile(f"drill-{now_ns}", coin, now_ns - int(delay_s * NS_PER_S), title, source.name if source else "")
    path = inbox_folder(config) / f"{notice.notice_id}.json"
    put_file(path, msgspec.json.encode(notice), "notice")
    return {**msgspec.structs.asdict(notice), "file": str(path)}


def chosen_source(config: Config, name: str, plugins: Plugins | None = None) -> NoticeSource:
    """Return the notice board of this name. Raises UsageError if the config does not read it."""
    if plugins is None:
        from pumpwatch.plugins import load_plugins

        plugins = load_plugins(config)
    read = [plugins.sources[board] for board, part in config.listing.sources.items()
            if part.enabled and board in plugins.sources]
    boards = {source.name: source for source in read if not isinstance(source, MarketSource)}
    if name not in boards:
        raise UsageError(f"no notice board `{printable(name)}` is read", f"known: {', '.join(boards) or 'none'}")
    return boards[name]


def put_file(path: Path, content: bytes, what: str) -> None:
    """Write a file into an inbox, whole or not at all, readable by owner and group only. Raises StorageError, which names `what`.

    A file written by root is given to the owner of the data folder, so that a collector of that user can take it.
    """
    partial_path = path.with_suffix(".partial")
    try:
        private_folder(path.parent)
        partial_path.unlink(missing_ok=True)
        make_private(partial_path)
        partial_path.write_bytes(content)
        if os.geteuid() == 0:
            owner = path.parent.parent.stat()
            for place in (path.parent, partial_path):
                os.chown(place, owner.st_uid, owner.st_gid, follow_symlinks=False)
        partial_path.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: cannot write the {what}: {error.strerror}",
                           "free disk space, and check that this user may write there") from error


class Inbox:
    """Takes dropped notices. `poll` looks once, and is cheap if the folder is empty.

    sources: the boards that are read, by name. offload: runs their code outside the hub.
    """

    def __init__(self, folder: Path, context: IntakeContext, sources: Mapping[str, NoticeSource] | None = None,
                 offload: Call = call_here) -> None:
        self._sources, self._offload = sources or {}, offload
        self._folder, self._clock, self._ledger = folder, context.clock, context.ledger
        self._registry = ListingRegistry(SOURCE, context)
        self._quarantine = Quarantine(SOURCE, context)
        self._failing = self._looking = False
        self._stuck: set[str] = set()  # names of invalid files that could not be renamed

    def schedule(self, scheduler: Any, interval_s: float = 0.5) -> None:
        """Make an APScheduler look every `interval_s` from now on."""
        scheduler.add_job(self.poll, "interval", seconds=interval_s, id="listing.inbox", max_instances=2,
                          coalesce=True, misfire_grace_time=None)

    def poll(self) -> None:
        """Process each file: remove it when its listing is durable, rename it to `.rejected` if it is invalid."""
        if self._looking:
            return
        self._looking = True
        try:
            self._look()
        finally:
            self._looking = False

    def _look(self) -> None:
        try:
            with os.scandir(self._folder) as entries:
                names = sorted(islice((entry.name for entry in entries if entry.name.endswith(".json")), NAMES_PER_LOOK))
        except FileNotFoundError:
            return
        except OSError as error:
            self._log_failing(f"{self._folder}: {error.strerror}")
            return
        self._stuck.intersection_update(names)
        registered: dict[str, Evidence] = {}  # by the name of the file
        try:
            for name in islice((name for name in names if name not in self._stuck), FILES_PER_LOOK):
                isolated(partial(self._register, name, registered), partial(self._set_aside, name))
            self._registry.store()
            self._ledger.keep_evidence(list(registered.values()))
            for name in registered:
                (self._folder / name).unlink(missing_ok=True)
            self._failing = False
        except (StorageError, OSError) as error:
            self._log_failing(str(error))
        self._registry.log_not_opened()

    def _log_failing(self, reason: str) -> None:
        if not self._failing:
            log.warning("notices in the inbox wait reason=%s", printable(reason))
        self._failing = True

    def _register(self, name: str, registered: dict[str, Evidence]) -> None:
        try:
            content = read_dropped(self._folder / name)
            notice = msgspec.json.decode(content, type=NoticeFile)
        except (msgspec.DecodeError, OSError) as error:
            raise BadFrame(f"not a notice file: {error}") from error
        now_ns = self._clock.now_ns()
        coin = checked_coin(notice.symbol)
        source = self._source_of(notice)
        listing = Listing(source=notice.source or SOURCE, notice_id=notice.notice_id, symbol=coin, title=notice.title,
                          announced_at_ns=notice.announced_at_ns, detected_at_ns=now_ns, triggered_at_ns=now_ns, drill=True,
                          needs_body=source is not None and self._needs_body(source, notice, coin),
                          exchange=source.exchange if source is not None else "")
        check_listing(listing, now_ns)
        self._registry.add([listing])
        registered[name] = Evidence(listing.source, listing.notice_id, now_ns, SEEN,
                                    {"raw": content.decode("utf-8", "replace"), "answer": None})

    def _source_of(self, notice: NoticeFile) -> NoticeSource | None:
        """Return the board that a notice names, if any. Raises BadFrame if that board is not read."""
        if notice.source and notice.source not in self._sources:
            raise BadFrame(f"no notice board `{printable(notice.source)}` is read: {', '.join(self._sources) or 'none is'}")
        return self._sources.get(notice.source)

    def _needs_body(self, source: NoticeSource, dropped: NoticeFile, coin: str) -> bool:
        """Judge a title by its board's rules. Raises BadFrame if by these it is not a KRW listing of the coin."""
        at_ns = dropped.announced_at_ns
        verdict = self._offload(checked_verdict, source, Notice(
            source=source.name, notice_id=dropped.notice_id, title=dropped.title, category="", published_at_ns=at_ns,
            updated_at_ns=at_ns))
        if verdict.kind != "krw_listing" or coin not in verdict.coins:
            raise BadFrame(f"its title is not a KRW listing of {coin} on {source.name}: kind {verdict.kind}, coins "
                           f"{', '.join(verdict.coins) or 'none'}")
        return verdict.needs_body

    def _set_aside(self, name: str, error: Exception) -> None:
        """Rename an invalid file; if even that fails, ignore it from now on."""
        reason = error.message if isinstance(error, BadFrame) else f"{type(error).__name__}: {error}"
        log.warning("invalid notice file rejected file=%s reason=%s", printable(name), printable(reason))
        self._quarantine.record([RejectedRow(reason, name.encode("utf-8", "replace"))])
        path = self._folder / name
        for number in range(100):
            aside = path.with_suffix(f".{number}.rejected" if number else ".rejected")
            try:
                if not os.path.lexists(aside):
                    path.rename(aside)
                    return
            except OSError:
                break
        self._stuck.add(name)


def read_dropped(path: Path) -> bytes:
    """Return a regular file's content, at most LARGEST_BYTES. Follows no link, blocks on no pipe. Raises OSError and BadFrame."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise BadFrame("not a notice file: not a regular file")
        if found.st_size > LARGEST_BYTES:
            raise BadFrame(f"not a notice file: {found.st_size} bytes, at most {LARGEST_BYTES} are read")
        return os.read(handle, LARGEST_BYTES)
    finally:
        close_now(handle)
