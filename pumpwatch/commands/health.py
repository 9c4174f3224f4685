"""Commands that inspect a collector and its plugins: status, check, doctor, plugins."""

from __future__ import annotations

import shlex
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pumpwatch.commands.finding_table import FINDINGS, finding_rows, summed_up
from pumpwatch.commands.options import config_option, json_option
from pumpwatch.commands.output import (
    colored,
    hushed,
    print_commands,
    print_json,
    print_line,
    print_lines,
    print_message,
    print_table,
    program,
    shown,
    terminal_width,
)
from pumpwatch.commands.repeat import repeat, watch
from pumpwatch.commands.table import Column

if TYPE_CHECKING:
    from pumpwatch.config import Config
    from pumpwatch.findings import Finding

WATCH_S = 1.0  # a collector writes its figures each second


@click.command()
@config_option
@json_option
@click.option("--line", is_flag=True, help="Print the one-line summary that the collector logs each minute.")
@click.option("-w", "--watch", "watching", is_flag=True, help="Refresh each second, until Ctrl-C.")
def status(config: Config, as_json: bool, line: bool, watching: bool) -> int:
    """Show what the collector is doing.

    Exit code 69 if no collector runs on the config's data folder.

    \b
    Example: pumpwatch status --watch
             pumpwatch status -c /etc/pumpwatch.yaml
    """
    from pumpwatch.clock import Clock
    from pumpwatch.commands.status_view import status_lines
    from pumpwatch.ops import health

    folder, clock = Path(config.store.dir), Clock()

    def lines() -> list[str]:
        return status_lines(shown(health.read(folder)), clock.now_ns(), terminal_width(), colored())

    def print_once() -> None:
        if as_json:
            print_json([health.read(folder)])
        elif line:
            print_line(health.summary_line(health.read(folder)))
        else:
            print_lines(lines())

    if not watching:
        print_once()
        return 0
    return repeat(print_once, WATCH_S) if as_json or line else watch(lines, WATCH_S)


@click.command()
@config_option
@json_option
@click.option("--connect", is_flag=True, help="Also connect to every configured service.")
def check(config: Config, as_json: bool, connect: bool) -> int:
    """Check config, plugins, data folder and clock.

    Exit code 1 if a check fails, 78 and one message if the configuration is invalid. --connect also tries every venue, notice
    board and sink; the exit code is 69 if the only problem is that one of them does not answer.

    \b
    Example: pumpwatch check --connect
    """
    from pumpwatch.api.access import access_of
    from pumpwatch.net.ws import tls_context
    from pumpwatch.notify.channels import make_channels
    from pumpwatch.ops import preflight
    from pumpwatch.plugins import load_plugins

    with hushed("pumpwatch.plugins"):
        found = load_plugins(config)
        found.fit(config)
        found.make_sinks(config)
        make_channels(config)
        tls_context(config.net.ca_file)
        access_of(config)
        findings = preflight.check(config, connect, found)
    return print_findings(findings, as_json)


@click.command()
@config_option
@json_option
@click.option("--all", "with_all", is_flag=True,
              help="Show each passed check in its own row; damage that is recorded as lost then counts as a failure.")
def doctor(config: Config, as_json: bool, with_all: bool) -> int:
    """Find problems, and show how to fix them.

    Runs the checks of `check --connect`, then examines the collector and its files: connections, damaged files, gaps,
    quarantined frames. Passed checks of one kind share a row. Exit codes are those of `check`.

    \b
    Example: pumpwatch doctor
             pumpwatch doctor --all
    """
    from pumpwatch.ops import preflight
    from pumpwatch.ops.doctor import examine

    with hushed("pumpwatch.plugins"):
        findings = preflight.check(config, connect=True)
    return print_findings([*findings, *examine(Path(config.store.dir))], as_json, settled=with_all, summed=not with_all)


def print_findings(findings: list[Finding], as_json: bool, *, settled: bool = False, summed: bool = False) -> int:
    """Print the findings and return their exit code.

    settled: damage that is recorded as lost counts as a failure. summed: passed checks of one kind share a row; JSON has each.
    """
    from pumpwatch.ops import preflight

    if as_json:
        print_json({"name": finding.name, "state": finding.state, "detail": finding.detail, "hint": finding.hint,
                    "ms": finding.ms} for finding in findings)
    else:
        rows = summed_up(findings) if summed else findings
        print_table(FINDINGS, finding_rows(rows, terminal_width()))
        counts = Counter(finding.state for finding in findings)
        total = ", ".join(f"{count} {state}" for state, count in counts.most_common())
        print_lines(["", total if len(rows) == len(findings) else f"{total}; --all shows each passed check in its own row"])
    return preflight.exit_code(findings, settled=settled)


@click.group()
def plugins() -> None:
    """List, check, record and create plugins."""


@plugins.command("list")
@config_option
@json_option
def list_plugins(config: Config, as_json: bool) -> int:
    """List every plugin found, and whether it is used.

    Exit code 1 if a plugin was refused.

    \b
    Example: pumpwatch plugins list --json
    """
    from pumpwatch.plugins import load_plugins

    with hushed("pumpwatch.plugins"):
        found = load_plugins(config)
    plugins = found.describe()
    named = {plugin["name"] for plugin in plugins}
    plugins += [{"name": name, "status": "refused", "offers": [], "origin": "", "reason": reason}
                for name, reason in found.problems if name not in named]
    plugins += [{"name": key, "status": "refused", "offers": [], "origin": "", "reason": reason}
                for key, _, reason in (fault.partition(": ") for fault in found.faults)]
    if as_json:
        print_json(plugins)
    else:
        rows: list[list[str] | str] = []
        for plugin in plugins:
            rows.append([plugin["name"], plugin["status"], ", ".join(plugin["offers"]), plugin["origin"]])
            rows += [plugin["reason"]] if plugin["reason"] else []
        print_table((Column("plugin"), Column("state"), Column("offers", wraps=True), Column("from", rank=1)), rows)
    return 1 if found.problems or found.faults else 0


@plugins.command("check")
@click.argument("name")
@click.option("--frames", metavar="FILE", help="Recorded frames, each line a frame as received or JSON with the frame in `raw`.")
@click.option("--instruments", metavar="FILE", multiple=True,
              help="A recorded symbol list, as the venue sent it. Repeatable, for each market or page of a list.")
@click.option("--history", "histories", metavar="[SYMBOL=]FILE", multiple=True,
              help="A recorded trade history, preferably of the same minutes as the frames.")
@click.option("--recorded", metavar="DIR", help="A folder that `plugins record` wrote: frames, lists and histories.")
@json_option
@config_option
def check_plugin(name: str, frames: str | None, instruments: tuple[str, ...], histories: tuple[str, ...], recorded: str | None,
                 as_json: bool, config: Config) -> int:
    """Check a plugin against the contract.

    Checks facts, malformed frames, limits, invalid answers and speed. If a simulator plugin imitates its venues, a collector
    also records simulated trades, which takes some seconds. NAME is one of `plugins list`. Exit code 1 if a check fails.

    \b
    Example: pumpwatch plugins check binance --frames frames.jsonl
             pumpwatch plugins check binance --recorded recorded
    """
    from pumpwatch.findings import FAIL, WARN
    from pumpwatch.plugin_kit.contract import check_plugin as run
    from pumpwatch.plugin_kit.recorder import recorded_files

    files = recorded_files(frames, instruments, histories, recorded)
    if sys.stderr.isatty():
        print_message(f"checking {name}, which takes some seconds")
    with hushed("pumpwatch.plugins"):
        checks = list(run(name, config, files))
    if as_json:
        print_json(check.as_json() for check in checks)
    else:
        print_table((Column("of"), Column("check"), Column("state"), Column("found", wraps=True)),
                    ((check.of, check.check, check.state, check.detail) for check in checks))
    failures = sum(check.state == FAIL for check in checks)
    warnings = [f"{check.of}: {check.check}" for check in checks if check.state == WARN]
    named = f": {', '.join(warnings)}" if warnings else ""
    print_message(f"{len(checks)} checks, {failures} failed, {len(warnings)} warnings{named}")
    return 1 if failures else 0


@plugins.command("record")
@click.argument("name")
@click.option("--dir", "folder", metavar="DIR", default="recorded", show_default=True, help="Write into this folder.")
@click.option("--seconds", type=click.FloatRange(1, 3600), default=30.0, show_default=True, help="Record frames for this long.")
@click.option("--symbols", type=click.IntRange(1, 1000), default=20, show_default=True, help="Record the busiest symbols only.")
@json_option
@config_option
def record_plugin(name: str, folder: str, seconds: float, symbols: int, as_json: bool, config: Config) -> int:
    """Record frames and answers of a plugin's real venues.

    Writes frames, symbol lists and trade histories to files for `plugins check --recorded DIR` and the tests of a new plugin.
    NAME is one of `plugins list`; addresses and `enabled` of the config apply. Exit code 69 if a venue did not send all of
    them; those that it sent are written.

    \b
    Example: pumpwatch plugins record bitmart --dir tests/recorded
    """
    from pumpwatch.plugin_kit.recorder import record

    if sys.stderr.isatty():
        print_message(f"recording {name} for {seconds:.0f} s")
    with hushed("pumpwatch.plugins"):
        made = record(name, config, Path(folder), seconds, symbols)
    if as_json:
        print_json({"venue": venue.venue, "folder": str(venue.folder.absolute()), "frames": venue.frames,
                    "trades": venue.trades, "instruments": venue.instruments, "histories": venue.histories,
                    "problem": venue.problem} for venue in made)
    else:
        rows: list[list[str] | str] = []
        for venue in made:
            rows.append([venue.venue, f"{venue.frames:,}", f"{venue.trades:,}", f"{venue.instruments:,}",
                         ", ".join(venue.histories)])
            rows += [venue.problem] if venue.problem else []
        print_table((Column("venue"), Column("frames", right=True), Column("trades", right=True),
                     Column("instruments", right=True), Column("histories", wraps=True)), rows)
    print_commands(f"next: {program()} plugins check {name} --recorded {shlex.quote(str(Path(folder).absolute()))}")
    return 69 if any(venue.problem for venue in made) else 0


@plugins.command("new")
@click.argument("name")
@click.option("--dir", "parent", metavar="DIR", default=".", show_default=True, help="Put the package's folder here.")
@click.option("--futures", is_flag=True, help="Add a futures market to the spot market.")
@json_option
@config_option
def new_plugin(name: str, parent: str, futures: bool, as_json: bool, config: Config) -> int:
    """Create a plugin for another exchange.

    Writes a working package for a made-up protocol: one plugin file, its entry point, a test with one frame, and a README
    with the next steps. NAME is the exchange's name. Existing files are left alone.

    \b
    Example: pumpwatch plugins new bitmart --dir src
    """
    from pumpwatch.plugin_kit.scaffold import new_plugin as write

    with hushed("pumpwatch.plugins"):
        files = write(name, Path(parent).absolute(), config, futures=futures)
    if as_json:
        print_json({"file": str(file)} for file in files)
    else:
        for file in files:
            print_line(file)
    print_commands(*_next_steps(files[0].parent, name))
    return 0


def _next_steps(package: Path, name: str) -> list[str]:
    """Return the next commands for a new package; a zipapp has no environment to install it into."""
    folder, program = shlex.quote(str(package)), Path(sys.argv[0]).absolute()
    if zipfile.is_zipfile(program):
        frames = shlex.quote(str(package / "tests" / "frames.jsonl"))
        return [f"next: PUMPWATCH_PLUGINS__FOLDER={folder} {shlex.quote(str(program))} plugins check {name} --frames {frames}",
                f"to collect it: `plugins.folder: {package}` in the config, or pumpwatch_{name}.py in the folder named there",
                "its tests need pytest and PumpWatch installed by pip, not the zipapp"]
    python = shlex.quote(sys.executable)
    return [f"next: {python} -m pip install -e {shlex.quote(f'{package}[test]')}",
            f"then: cd {folder}; {python} -m pytest; {python} -m pumpwatch plugins check {name} --frames tests/frames.jsonl"]
