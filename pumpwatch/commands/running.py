"""Commands that run a collector or simulated venues: collect, renew, demo, simulate."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pumpwatch.commands.options import config_option, json_option
from pumpwatch.commands.output import colored, near, print_json, print_lines, print_message, print_table, program, terminal_width
from pumpwatch.printable import printable

if TYPE_CHECKING:
    from pumpwatch.config import Config


@click.command()
@click.option("--exchange", "exchanges", metavar="NAME", multiple=True, help="Record only this exchange; may be repeated.")
@click.option("--coin", "coins", metavar="COIN", multiple=True, help="Record only this coin, on every market that has it; may be "
                                                                     "repeated.")
@click.option("--replace", is_flag=True, help="Take over from the collector that runs on the same folder, without missing a "
                                              "trade; the old one ends once this one reads everything.")
@click.option("--replace-within", type=click.FloatRange(1, 3600), default=300.0, show_default=True, metavar="SECONDS",
              help="Give up if not everything is read by then; the old collector goes on.")
@click.option("--background", is_flag=True, help="With --replace: return once it has taken over, and leave it running.")
@click.option("--log-format", type=click.Choice(("text", "json")), help="Log readable text, or one JSON object a line; by "
                                                                       "default log.format of the config.")
@config_option
def collect(exchanges: tuple[str, ...], coins: tuple[str, ...], replace: bool, replace_within: float, background: bool,
            log_format: str | None, config: Config) -> int:
    """Record every trade, until stopped.

    Records the configured exchanges; without a config, every exchange that a plugin offers, with the journal in ./data.
    --exchange and --coin narrow the config for this run: neither other trades nor their gaps are recorded. Ctrl-C or SIGTERM
    commits the received trades and ends with exit code 0, or 74 if the disk did not take all of them. Logs go to stderr.
    SIGHUP reads the config again: log levels, channels, windows and retention change at once; the log lists other changes.

    \b
    Example: pumpwatch collect -c /etc/pumpwatch.yaml
             pumpwatch collect --exchange binance --exchange okx --coin PEPE
             pumpwatch collect --replace -c /etc/pumpwatch.yaml
    """
    from pumpwatch.commands.background import announce_ready, in_background
    from pumpwatch.errors import UsageError

    if background and not replace:
        raise UsageError("--background is for --replace alone", "a service manager starts `pumpwatch collect` itself")
    if background:
        return in_background()
    from pumpwatch.app.collect import collect as run
    from pumpwatch.config import load
    from pumpwatch.ops.logs import set_up

    def read() -> Config:
        return _logged_as(load(path), log_format)

    path, first = Path(config.source.name) if config.source.is_file else None, _logged_as(config, log_format)
    config = first.changed(**{section: copy.copy(getattr(first, section)) for section in ("store", "listing")})
    if exchanges or coins:
        from pumpwatch.commands.narrow import narrowed
        from pumpwatch.plugins import load_plugins

        config = narrowed(config, load_plugins(config), exchanges, coins)
    set_up(config.log)
    return run(config, replace_within if replace else 0.0, announce_ready, (first, read))


def _logged_as(config: Config, log_format: str | None) -> Config:
    """Return the config with the log format of the command line."""
    if log_format is None:
        return config
    log = copy.copy(config.log)
    log.format = "json" if log_format == "json" else "text"
    return config.changed(log=log)


@click.command()
@click.argument("names", metavar="[VENUE]...", nargs=-1)
@json_option
@config_option
def renew(names: tuple[str, ...], as_json: bool, config: Config) -> int:
    """Replace the connections of a running collector, gap-free.

    VENUE is an exchange or one of its markets, such as binance or binance.spot; by default all. The connections of a venue are
    replaced one after the other, and each new one delivers before the old one is closed. The command does not wait: `status`
    shows how many are left, and the collector logs `all connections are renewed` for each venue. Exit code 69 if no collector
    runs on the config's data folder.

    \b
    Example: pumpwatch renew okx
    """
    from pumpwatch.errors import UsageError
    from pumpwatch.ops import health
    from pumpwatch.ops.renewal_request import drop

    folder = Path(config.store.dir)
    rows = health.read(folder).get("venues", ())
    known = {f"{row['exchange']}.{row['market_type']}": str(row["exchange"]) for row in rows}
    chosen = [venue for venue, exchange in known.items() if not names or venue in names or exchange in names]
    if unknown := sorted(set(names) - known.keys() - set(known.values())):
        raise UsageError(f"no venue `{printable(unknown[0])}` is collected", f"collected: {', '.join(known)}")
    path = drop(folder, chosen)
    if as_json:
        print_json([{"venue": venue, "file": str(path)} for venue in chosen])
    else:
        named = ", ".join(chosen) if len(chosen) <= 3 else f"{len(chosen)} venues"
        print_message(f"requested: new connections for {named}, one after the other",
                      "`pumpwatch status` shows how many are left; the collector logs when a venue is done")
    return 0


@click.command()
@click.option("--seconds", type=click.FloatRange(8, 3600), default=52.0, show_default=True, help="Trade for this long.")
@click.option("--rate", type=click.FloatRange(1, 200_000), default=2000.0, show_default=True, help="Trades a second.")
@click.option("--questdb", metavar="HOST:PORT", default="", help="Store in this QuestDB as well, and count there.")
@click.option("--data", metavar="DIR", default="", help="Keep everything here; by default in a new folder below this one.")
@json_option
def demo(seconds: float, rate: float, questdb: str, data: str, as_json: bool) -> int:
    """Watch the whole program at work for a minute, offline.

    Simulated venues trade over TLS on loopback and the collector records them. A simulated notice board lists one coin, and its
    window is archived. At the end both sides are counted. Exit code 0 only if every trade sent is stored exactly once.

    \b
    Example: pumpwatch demo --rate 10000 --questdb 127.0.0.1:9000
    """
    from rich.console import Console
    from rich.live import Live

    from pumpwatch.demo.run import run
    from pumpwatch.demo.view import DemoProgress, Display, next_lines, report_lines

    console = Console(stderr=True, markup=False, emoji=False)
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            code, report = run(seconds, rate, questdb, data, Display(live).show)
    else:
        code, report = run(seconds, rate, questdb, data, DemoProgress(print_message).show)
    if as_json:
        print_json([report.as_json()])
    else:
        print_lines([*report_lines(report, terminal_width(), colored()),
                     *next_lines(report, program(), near(Path(report.config)))])
    return code


@click.command()
@click.option("-c", "--config", "options", metavar="FILE", help="YAML with options of the simulation: those below, and "
                                                                "`venues`, `mode`, `rules`, `lag_s`, `faults`, `listings`, "
                                                                "`tape`.")
@click.option("--coins", "symbols", type=click.IntRange(1), help="The number of coins that trade on every venue.")
@click.option("--symbols", "roster", type=click.IntRange(1), help="The number of symbols on all venues together, spread as on "
                                                                  "the real ones; instead of --coins.")
@click.option("--rate", type=click.FloatRange(0), help="Trades a second, all venues together.")
@click.option("--seconds", type=click.FloatRange(0), help="Trade for this long, then end (with --stdin: pause); 0: "
                                                             "until stopped.")
@click.option("--folder", metavar="DIR", help="Put certificate and ground truth here; by default into a folder "
                                              "that is removed at the end.")
@click.option("--stdin", is_flag=True, help="Read commands as JSON lines from stdin; its end ends the simulation.")
@click.option("--faults", "list_faults", is_flag=True, help="List the kinds of fault with their keys and effects, and end.")
@json_option
def simulate(options: str | None, stdin: bool, list_faults: bool, as_json: bool, **given: Any) -> int:
    """Run simulated venues as a server on loopback, until stopped.

    Prints the config that points a collector at them (with --json the bare addresses). Commands are POSTs to the control
    address, which is printed on stderr, or with --stdin JSON lines such as {"do": "fault", "kind": "cut"}.

    \b
    Commands: status pause resume stop publish edit delete board_fault fault
    Kinds of fault: cut fin close slow_close silence mute freeze deaf drop double
                    reorder spoil fragment malformed ping maintenance refuse
                    down hang rest ban history
    Their keys and effects: pumpwatch simulate --faults
    A fault: curl --cacert DIR/ca.pem -d '{"kind": "cut"}' ADDRESS/fault
    ADDRESS is the control address: https://127.0.0.1:PORT/sim

    \b
    Example: pumpwatch simulate --coins 50 --rate 5000 > sim.yaml
             pumpwatch collect -c sim.yaml    (in another terminal)
    """
    import json
    import shlex

    from pumpwatch.config import make_absolute, read_mapping
    from pumpwatch.errors import UsageError
    from pumpwatch.sim.collector_config import config_yaml
    from pumpwatch.sim.server import main

    if list_faults:
        return _list_faults(as_json)
    raw = {str(key): value for key, value in read_mapping(Path(options)).items()} if options else {}
    if options:
        make_absolute(raw, Path(options).absolute().parent)
    make_absolute(given, Path.cwd())
    raw |= {name: value for name, value in given.items() if value is not None}
    if {"symbols", "roster"} <= raw.keys():
        raise UsageError("--coins and --symbols (in a file: symbols and roster) exclude each other: choose one")

    def show(line: str) -> None:
        known = json.loads(line)
        print(line if as_json else config_yaml(known), flush=True)
        ca_file, control = shlex.quote(known["ca_file"]), known["control"]
        print_message("simulated venues are listening; Ctrl-C ends them",
                      f"a fault: curl --cacert {ca_file} -d '{{\"kind\": \"cut\"}}' {control}/fault")

    return main(show=show, stdin_commands=stdin, end_with_trading=not stdin, **raw)


def _list_faults(as_json: bool) -> int:
    from pumpwatch.commands.fault_table import ABOUT, FAULTS, fault_rows, faults_json

    if as_json:
        print_json(faults_json())
    else:
        print_table(FAULTS, fault_rows(), "kinds of fault; defaults in brackets")
        print_message(*ABOUT)
    return 0
