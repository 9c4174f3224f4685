"""What runs until it is told to stop, or for a minute: collect, demo, simulate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pumpwatch.commands.options import config_option, json_option
from pumpwatch.commands.output import print_json, print_rich, say

if TYPE_CHECKING:
    from pumpwatch.config import Config


@click.command()
@config_option
def collect(config: Config) -> int:
    """Record every trade of the configured exchanges, until stopped.

    Without a config: every exchange that a plugin offers, the journal in ./data as the store. Ctrl-C or SIGTERM commits what was
    received and ends with exit code 0, or 74 where the disk refused some of it. Logs go to stderr.

    \b
    Example: pumpwatch collect -c /etc/pumpwatch.yaml
    """
    from pumpwatch.app.collector import collect as run
    from pumpwatch.ops.logs import set_up

    set_up(config.log.level)
    return run(config)


@click.command()
@click.option("--seconds", type=click.FloatRange(8, 3600), default=52.0, show_default=True, help="How long the venues trade.")
@click.option("--rate", type=click.FloatRange(1, 200_000), default=2000.0, show_default=True, help="Trades a second.")
@click.option("--questdb", metavar="HOST:PORT", default="", help="Store in this QuestDB as well, and count there.")
@click.option("--data", metavar="DIR", default="", help="Keep everything here; else in a new folder beside you.")
@json_option
def demo(seconds: float, rate: float, questdb: str, data: str, as_json: bool) -> int:
    """Watch the whole path at work, in a minute, without network.

    Simulated venues trade over TLS on loopback, the collector records them, a simulated notice board lists one coin, its
    window is archived, and at the end both sides are counted. Exit code 0 only when every trade sent is stored, once.

    \b
    Example: pumpwatch demo --rate 10000 --questdb 127.0.0.1:9000
    """
    from rich.console import Console
    from rich.live import Live

    from pumpwatch.demo.run import run
    from pumpwatch.demo.view import Display, report_view

    console = Console(stderr=True, markup=False, emoji=False)
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            code, report = run(seconds, rate, questdb, data, Display(live).show)
    else:
        code, report = run(seconds, rate, questdb, data)
    if as_json:
        print_json([report.as_json()])
    else:
        print_rich(report_view(report))
    return code


@click.command()
@click.option("-c", "--config", "options", metavar="FILE", help="YAML with options of the simulation (see --help of each key "
                                                                "in pumpwatch/sim/options.py).")
@click.option("--coins", "symbols", type=click.IntRange(1), help="How many coins trade on every venue.")
@click.option("--symbols", "roster", type=click.IntRange(1), help="How many symbols trade on all venues together, spread as on "
                                                                  "the real ones, instead of --coins.")
@click.option("--rate", type=click.FloatRange(0), help="Trades a second, all venues together.")
@click.option("--seconds", type=click.FloatRange(0), help="Of trading, then it ends, with --stdin it pauses; 0: until "
                                                                  "stopped.")
@click.option("--folder", metavar="DIR", help="Where certificate and ground truth go; else a folder "
                                                    "that is gone at the end.")
@click.option("--stdin", is_flag=True, help="Take commands as JSON lines from stdin; its end ends the simulation.")
@json_option
def simulate(options: str | None, stdin: bool, as_json: bool, **given: Any) -> int:
    """Run simulated venues as a server on loopback, until stopped.

    Prints the config that points a collector at them (with --json the bare addresses). Commands are POSTs to the control
    address, which is told on stderr, or with --stdin JSON lines such as {"do": "fault", "kind": "cut"}.

    \b
    Commands: status pause resume stop publish edit board_fault fault
    Kinds of fault: cut fin close slow_close silence mute freeze deaf drop double reorder
                    spoil fragment malformed ping maintenance refuse down hang rest
    A fault:  curl --cacert DIR/ca.pem -d '{"kind": "cut"}' https://127.0.0.1:PORT/sim/fault

    \b
    Example: pumpwatch simulate --coins 50 --rate 5000 > sim.yaml
    and when it says that they listen, in another terminal: pumpwatch collect -c sim.yaml
    """
    import json
    import shlex

    from pumpwatch.config import make_absolute, read_mapping
    from pumpwatch.errors import UsageError
    from pumpwatch.sim.collector_config import config_yaml
    from pumpwatch.sim.server import main

    raw = {str(key): value for key, value in read_mapping(Path(options)).items()} if options else {}
    if options:
        make_absolute(raw, Path(options).absolute().parent)
    make_absolute(given, Path.cwd())
    raw |= {name: value for name, value in given.items() if value is not None}
    if {"symbols", "roster"} <= raw.keys():
        raise UsageError("--coins and --symbols (in a file: symbols and roster) are two ways to say how many trade: choose one")

    def show(line: str) -> None:
        known = json.loads(line)
        print(line if as_json else config_yaml(known), flush=True)
        say("simulated venues are listening; Ctrl-C ends them",
            f"a fault: curl --cacert {shlex.quote(known['ca_file'])} -d '{{\"kind\": \"cut\"}}' {known['control']}/fault")

    return main(show=show, stdin_commands=stdin, end_with_trading=not stdin, **raw)

