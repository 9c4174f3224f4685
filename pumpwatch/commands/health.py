"""Looking after a collector: status, check, plugins."""

from __future__ import annotations

import logging
import shlex
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pumpwatch.commands.options import config_option, json_option
from pumpwatch.commands.output import print_json, print_rich, print_table, put, say, shown

if TYPE_CHECKING:
    from pumpwatch.config import Config
    from pumpwatch.ops.preflight import Finding


@click.command()
@config_option
@json_option
@click.option("--line", is_flag=True, help="Print the one-line summary that the collector logs each minute.")
def status(config: Config, as_json: bool, line: bool) -> int:
    """Show what the collector is doing.

    Exit code 69 where none runs on the config's data folder.

    \b
    Example: pumpwatch status -c /etc/pumpwatch.yaml
    """
    from pumpwatch.ops import health

    figures = health.read(Path(config.store.dir))
    if as_json:
        print_json([figures])
    elif line:
        put(health.summary_line(figures))
    else:
        print_rich(health.table(shown(figures)))
    return 0


@click.command()
@config_option
@json_option
@click.option("--connect", is_flag=True, help="Also reach every configured service.")
def check(config: Config, as_json: bool, connect: bool) -> int:
    """Check config, plugins, data folder and clock.

    Exit code 1 where something fails, 78 and one message where the config cannot be meant. With --connect it also reaches
    every venue, notice board and sink, and the exit code is 69 where only one of those is not there.

    \b
    Example: pumpwatch check --connect
    """
    from pumpwatch.net.ws import tls_context
    from pumpwatch.ops import preflight as doctor
    from pumpwatch.plugins import load_plugins

    with plugins_hushed():
        found = load_plugins(config)
        found.fit(config)
        found.make_sinks(config)
        tls_context(config.net.ca_file)
        findings = doctor.check(config, connect, found)
    return print_findings(findings, as_json)


@click.command()
@config_option
@json_option
@click.option("--all", "settled", is_flag=True, help="Count settled problems, such as damage recorded as lost, as failures too.")
def doctor(config: Config, as_json: bool, settled: bool) -> int:
    """Say what is wrong, and how to mend it.

    All that `check --connect` looks at, and what the collector left or is doing: its connections, damaged files, gaps,
    refused frames. Exit codes as those of `check`.

    \b
    Example: pumpwatch doctor
    """
    from pumpwatch.ops import preflight as doctor
    from pumpwatch.ops.doctor import examine

    with plugins_hushed():
        findings = doctor.check(config, connect=True)
    return print_findings([*findings, *examine(Path(config.store.dir))], as_json, settled=settled)


@contextmanager
def plugins_hushed() -> Iterator[None]:
    """Keep refused plugins out of the log of a command that prints them anyway."""
    logger = logging.getLogger("pumpwatch.plugins")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def print_findings(findings: list[Finding], as_json: bool, *, settled: bool = False) -> int:
    """Print the findings and return the exit code they amount to."""
    from pumpwatch.ops import preflight as doctor

    if as_json:
        print_json({"name": f.name, "state": f.state, "detail": f.detail, "hint": f.hint, "ms": f.ms} for f in findings)
    else:
        print_table(("what", "state", "found", "ms"), (
            (f.name, f.state, [f.detail, *([f.hint] if f.hint else [])], "" if f.ms is None else f"{f.ms:.0f}")
            for f in findings))
    return doctor.exit_code(findings, settled=settled)


@click.group()
def plugins() -> None:
    """Look at the plugins, check them, begin a new one."""


@plugins.command("list")
@config_option
@json_option
def list_plugins(config: Config, as_json: bool) -> int:
    """List every plugin found, and what became of it.

    Exit code 1 where one was refused.

    \b
    Example: pumpwatch plugins list --json
    """
    from pumpwatch.plugins import load_plugins

    with plugins_hushed():
        found = load_plugins(config)
    rows = found.describe()
    named = {row["name"] for row in rows}
    rows += [{"name": name, "status": "refused", "offers": [], "origin": "", "reason": reason}
             for name, reason in found.problems if name not in named]
    rows += [{"name": key, "status": "refused", "offers": [], "origin": "", "reason": reason}
             for key, _, reason in (fault.partition(": ") for fault in found.faults)]
    if as_json:
        print_json(rows)
    else:
        print_table(("plugin", "state", "offers", "from", "reason"),
                    ((row["name"], row["status"], row["offers"], row["origin"], row["reason"])
                     for row in rows))
    return 1 if found.problems or found.faults else 0


@plugins.command("check")
@click.argument("name")
@click.option("--frames", metavar="FILE", help="Recorded frames: a frame a line as it came, or JSON with the frame in `raw`.")
@click.option("--instruments", metavar="FILE", multiple=True,
              help="A recorded symbol list, as the venue answered it; once for each market, or for each page of one list.")
@click.option("--history", "histories", metavar="[SYMBOL=]FILE", multiple=True,
              help="A recorded trade history, best of the same minutes as the frames.")
@click.option("--recorded", metavar="DIR", help="A folder that `plugins record` wrote: frames, lists and histories.")
@json_option
@config_option
def check_plugin(name: str, frames: str | None, instruments: tuple[str, ...], histories: tuple[str, ...], recorded: str | None,
                 as_json: bool, config: Config) -> int:
    """Hold a plugin against the contract.

    Whoever wrote it: facts, frames as no venue should send them, limits, answers that are none, speed, and, where a
    simulator plugin plays its venues, the whole way through a collector, which takes some seconds. NAME is one of
    `plugins list`. Exit code 1 where a check fails.

    \b
    Example: pumpwatch plugins check binance --frames frames.jsonl
             pumpwatch plugins check binance --recorded recorded
    """
    from pumpwatch.plugin_kit.contract import check_plugin as run
    from pumpwatch.plugin_kit.recorder import recorded_files
    from pumpwatch.plugin_kit.results import FAIL, WARN

    files = recorded_files(frames, instruments, histories, recorded)
    if sys.stderr.isatty():
        say(f"checking {name}, which takes some seconds")
    with plugins_hushed():
        checks = list(run(name, config, files))
    if as_json:
        print_json(one.as_json() for one in checks)
    else:
        print_table(("of", "check", "state", "found"), ((one.of, one.check, one.state, one.detail) for one in checks))
    failures = sum(one.state == FAIL for one in checks)
    warnings = [f"{one.of}: {one.check}" for one in checks if one.state == WARN]
    say(f"{len(checks)} checks, {failures} failed, {len(warnings)} to look at{': ' if warnings else ''}{', '.join(warnings)}")
    return 1 if failures else 0


@plugins.command("record")
@click.argument("name")
@click.option("--dir", "folder", metavar="DIR", default="recorded", show_default=True, help="Where it goes, a folder a venue.")
@click.option("--seconds", type=click.FloatRange(1, 3600), default=30.0, show_default=True, help="How long frames are recorded.")
@click.option("--symbols", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, the busiest first.")
@json_option
@config_option
def record_plugin(name: str, folder: str, seconds: float, symbols: int, as_json: bool, config: Config) -> int:
    """Record what the real venues of a plugin send and answer.

    Writes frames, symbol lists and trade histories to files that `plugins check --recorded DIR` and the tests of a new plugin
    read. NAME is one of `plugins list`; addresses and `enabled` of the config count. Exit code 69 where a venue did not give
    all of it; what it gave is written.

    \b
    Example: pumpwatch plugins record bitmart --dir tests/recorded
    """
    from pumpwatch.plugin_kit.recorder import record

    if sys.stderr.isatty():
        say(f"recording {name} for {seconds:.0f} s")
    with plugins_hushed():
        made = record(name, config, Path(folder), seconds, symbols)
    if as_json:
        print_json({"venue": one.venue, "folder": str(one.folder.absolute()), "frames": one.frames, "trades": one.trades,
                    "instruments": one.instruments, "histories": one.histories, "problem": one.problem} for one in made)
    else:
        print_table(("venue", "frames", "trades", "instruments", "histories", "problem"), (
            (one.venue, f"{one.frames:,}", f"{one.trades:,}", f"{one.instruments:,}", ", ".join(one.histories), one.problem)
            for one in made))
    say(f"next: pumpwatch plugins check {name} --recorded {shlex.quote(str(Path(folder).absolute()))}")
    return 69 if any(one.problem for one in made) else 0


@plugins.command("new")
@click.argument("name")
@click.option("--dir", "parent", metavar="DIR", default=".", help="Where the package's folder goes; else here.")
@click.option("--futures", is_flag=True, help="With a futures market beside the spot market.")
@json_option
@config_option
def new_plugin(name: str, parent: str, futures: bool, as_json: bool, config: Config) -> int:
    """Begin a plugin for another exchange.

    Writes a package with a made-up protocol that works: one plugin file, its entry point, a test with one frame, a
    README that says how to go on. NAME is the exchange's name. Nothing that is there already is touched.

    \b
    Example: pumpwatch plugins new bitmart --dir src
    """
    from pumpwatch.plugin_kit.scaffold import new_plugin as write

    with plugins_hushed():
        files = write(name, Path(parent).absolute(), config, futures=futures)
    if as_json:
        print_json({"file": str(file)} for file in files)
    else:
        for file in files:
            put(file)
    say(*_next_steps(files[0].parent, name))
    return 0


def _next_steps(package: Path, name: str) -> list[str]:
    """Return the commands that go on from a new package; a zipapp has no environment to install it into."""
    folder, program = shlex.quote(str(package)), Path(sys.argv[0]).absolute()
    if zipfile.is_zipfile(program):
        frames = shlex.quote(str(package / "tests" / "frames.jsonl"))
        return [f"next: PUMPWATCH_PLUGINS__FOLDER={folder} {shlex.quote(str(program))} plugins check {name} --frames {frames}",
                f"to collect it: `plugins.folder: {package}` in the config, or pumpwatch_{name}.py in the folder named there",
                "its tests need pytest and PumpWatch installed by pip, not the zipapp"]
    python = shlex.quote(sys.executable)
    return [f"next: {python} -m pip install -e {shlex.quote(f'{package}[test]')}",
            f"then: cd {folder}; {python} -m pytest; {python} -m pumpwatch plugins check {name} --frames tests/frames.jsonl"]
