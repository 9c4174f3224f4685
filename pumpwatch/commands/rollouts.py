"""Commands for the roll-out of a sink: show it, control it, measure a sink beforehand."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pumpwatch.commands.options import config_option, json_option, with_config
from pumpwatch.commands.output import print_json, print_line, print_message, print_table
from pumpwatch.commands.table import Column

if TYPE_CHECKING:
    from pumpwatch.config import Config
    from pumpwatch.rollout.state import RolloutState

ANSWERED_WITHIN_S, POLL_S = 15.0, 0.1


@click.group(invoke_without_command=True)
@json_option
@config_option
@click.pass_context
def rollout(context: click.Context, as_json: bool, config: Config) -> int:
    """Show and control the roll-out of a sink.

    The section `rollout` of the config names a sink that gets the instruments in phases: 10, 50, 100 %. Its answers are compared
    with those of memory and journal, which users get, and a sink that fails is rolled back. Without a subcommand the state is
    shown. Exit code 1 after a roll-back, or if differences were found.

    \b
    Example: pumpwatch rollout -c pumpwatch.yaml
             pumpwatch rollout start -c pumpwatch.yaml
    """
    context.obj = config
    if context.invoked_subcommand is not None:
        return 0
    from pumpwatch.errors import EXIT_FOUND, EXIT_OK, PumpWatchError
    from pumpwatch.ops import health

    state = _state(config)
    try:
        health.read(Path(config.store.dir))
    except PumpWatchError as error:
        print_message(f"this state was read from the last file: {error.message}")
    if as_json:
        print_json([_row(state)])
    else:
        _print(config, state)
    return EXIT_FOUND if state.status == "rolled back" or state.answers.different else EXIT_OK


def _state(config: Config) -> RolloutState:
    """Return the state of the roll-out that the config names. Raises UsageError without one, StorageError if it is damaged."""
    from pumpwatch.errors import UsageError
    from pumpwatch.rollout.state import RolloutState, read_state

    sink = config.rollout.sink
    if not sink:
        raise UsageError("the config does not roll out a sink", "name one in `rollout.sink`, see docs/rollout.md")
    state = read_state(Path(config.store.dir))
    return state if state is not None and state.sink == sink else RolloutState(sink=sink)


def _row(state: RolloutState) -> dict[str, Any]:
    import msgspec

    from pumpwatch.rollout.report import figures

    return {"sink": state.sink, "status": state.status, "percent": state.percent, "ran_s": round(state.ran_s, 1),
            "started_at_ns": state.started_at_ns, "phase_at_ns": state.phase_at_ns, "reason": state.reason,
            **figures(state.answers), "changes": msgspec.to_builtins(state.changes)}


def _print(config: Config, state: RolloutState) -> None:
    from pumpwatch.listing.manifest import iso
    from pumpwatch.rollout.report import figures

    found = figures(state.answers)
    reason = f" ({state.reason})" if state.reason else ""
    print_line(f"{state.sink}: {state.status}, {state.percent} % of the instruments{reason}")
    print_table((Column("phase", right=True), Column("duration", right=True), Column("fallback"), Column("state", wraps=True)),
                ([f"{phase.percent} %", f"{phase.duration_h:g} h", "on" if phase.fallback else "off",
                  _standing(state, phase.percent)] for phase in config.rollout.phases))
    print_line(f"queries {found['queries']:,}, failed {found['failed']:,}; mean {found['mean_ms']} ms, p50 {found['p50_ms']} ms,"
               f" p99 {found['p99_ms']} ms; {found['trades']:,} trades compared")
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in found["differences"].items() if number)
    print_line(f"differences: {kinds or 'none'}")
    if state.changes:
        print_table((Column("since (UTC)"), Column("state"), Column("share", right=True), Column("reason", wraps=True)),
                    ([iso(change.at_ns)[:19].replace("T", " "), change.status, f"{change.percent} %", change.reason]
                     for change in state.changes[-10:]))


def _standing(state: RolloutState, percent: int) -> str:
    if percent == state.percent:
        return f"{state.status}, for {state.ran_s / 3600:,.1f} h" if state.status != "done" else "done"
    return "done" if percent < state.percent else ""


def _control(context: click.Context, config: Config, action: str, reason: str) -> int:
    """Send a request to the running collector, and wait for its answer. Raises UsageError if the collector refuses it.

    `-c` may come before the subcommand or after it.
    """
    from pumpwatch.errors import ServiceUnavailable, UsageError
    from pumpwatch.ops import health
    from pumpwatch.rollout.request import RolloutRequest, drop_request

    config = config if config.source.is_file else context.obj
    folder = Path(config.store.dir)
    _state(config)
    health.read(folder)
    number = drop_request(folder, RolloutRequest(action, reason))
    deadline = time.monotonic() + ANSWERED_WITHIN_S
    while number not in (state := _state(config)).answered:
        if time.monotonic() > deadline:
            raise ServiceUnavailable(f"the collector on {folder} did not answer within {ANSWERED_WITHIN_S:.0f} s",
                                     "its log shows whether it was started with this config")
        time.sleep(POLL_S)
    if state.answered[number]:
        raise UsageError(state.answered[number])
    print_line(f"{state.sink}: {state.status}, {state.percent} % of the instruments")
    print_message(f"`pumpwatch rollout{with_config(config)}` shows the progress")
    return 0


def _reason(command: Any) -> Any:
    return click.option("--reason", default="", metavar="TEXT", help="Recorded with the change.")(command)


@rollout.command()
@_reason
@config_option
@click.pass_context
def start(context: click.Context, reason: str, config: Config) -> int:
    """Start the roll-out, or continue it after a pause or a roll-back.

    \b
    Example: pumpwatch rollout start
    """
    return _control(context, config, "start", reason)


@rollout.command()
@_reason
@config_option
@click.pass_context
def pause(context: click.Context, reason: str, config: Config) -> int:
    """Pause the phase: the sink keeps its share, and is still compared.

    \b
    Example: pumpwatch rollout pause --reason "a release is due"
    """
    return _control(context, config, "pause", reason)


@rollout.command()
@_reason
@config_option
@click.pass_context
def advance(context: click.Context, reason: str, config: Config) -> int:
    """Begin the next phase now, regardless of differences.

    \b
    Example: pumpwatch rollout advance
    """
    return _control(context, config, "advance", reason)


@rollout.command()
@_reason
@config_option
@click.pass_context
def back(context: click.Context, reason: str, config: Config) -> int:
    """Return to the share before, from the first phase to 0 %. No trade is lost: the journal keeps all.

    \b
    Example: pumpwatch rollout back --reason "odd prices"
    """
    return _control(context, config, "back", reason)


def _rates(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[int, ...]:
    """Turn rates into trades a second; `burst` is 0."""
    for value in values:
        if value != "burst" and not (value.isascii() and value.isdigit() and 1 <= int(value[:8]) <= 1_000_000):
            raise click.BadParameter(f"{value!r} is neither `burst` nor a number from 1 to 1000000")
    return tuple(0 if value == "burst" else int(value) for value in values)


@click.command("bench-sink")
@click.argument("name", metavar="[NAME]", default="")
@click.option("--rate", "rates", callback=_rates, multiple=True, default=("1000", "5000", "burst"), metavar="RATE",
              show_default="1000, 5000, burst",
              help="Trades a second, or `burst`: 150,000 within one second; may be repeated.")
@click.option("--seconds", type=click.FloatRange(1, 3600), default=15.0, show_default=True,
              help="The duration of each rate; a burst takes 1 s.")
@json_option
@config_option
def bench_sink(name: str, rates: tuple[int, ...], seconds: float, as_json: bool, config: Config) -> int:
    """Measure a configured sink under load, apart from its trades.

    NAME is a sink of the config; by default the only one. Made-up trades of an exchange `bench` go to separate tables, which are
    removed at the end, even after Ctrl-C. A running collector is neither needed nor disturbed. A batch has the trades of one
    second, like those of a drain. Exit code 1 if the sink did not keep up, 69 if it does not answer.

    \b
    Example: pumpwatch bench-sink questdb
             pumpwatch bench-sink --rate 20000 --seconds 60
    """
    import os

    from pumpwatch.errors import EXIT_FOUND, EXIT_OK, UsageError
    from pumpwatch.plugins import load_plugins
    from pumpwatch.rollout.bench import BURST, Load
    from pumpwatch.sink_abilities import TrialSink

    sinks = load_plugins(config).make_sinks(config)
    if not sinks:
        raise UsageError("the config does not have a sink to measure", "add one, such as `sinks: {questdb: {addr: "
                         "127.0.0.1:9000}}`, and give the file with -c; `packaging/questdb start DIR` starts a server")
    name = name or (next(iter(sinks)) if len(sinks) == 1 else "")
    if name not in sinks:
        raise UsageError(f"the config has no sink {name!r}" if name else f"the config has {len(sinks)} sinks: name one",
                         f"known: {', '.join(sinks)}")
    real = sinks[name]
    if not isinstance(real, TrialSink):
        raise UsageError(f"{name} does not have a place for a trial", "its plugin does not define `trial`, see docs/plugins.md")
    sink = real.trial(f"{int(time.time())}_{os.getpid()}")
    loads = [Load(rate, seconds) if rate else Load(BURST, 1.0) for rate in rates]
    assert isinstance(sink, TrialSink)
    print_message(f"writes {sum(round(load.rate * load.seconds) for load in loads):,} made-up trades in about"
                  f" {sum(load.seconds + 1 for load in loads):.0f} s to {sink.trial_place()}; all of it is removed at the end")
    rows = _measured(sink, loads)
    if as_json:
        print_json(rows)
    else:
        _print_bench(rows)
    return EXIT_FOUND if any(row["behind"] or row["rejected"] for row in rows) else EXIT_OK


def _measured(sink: Any, loads: list[Any]) -> list[dict[str, Any]]:
    """Measure the loads one after the other, and remove all of their trades at the end."""
    from pumpwatch.rollout.bench import WARM_UP, bench_catalogue, made_up, measure

    rows, catalogue, first_id = [], bench_catalogue(), 1 + WARM_UP
    try:
        sink.open()
        sink.write(made_up(WARM_UP, 1, time.time_ns(), 1.0), catalogue)  # loads what the first batch needs
        for load in loads:
            found = measure(sink, catalogue, load, first_id)
            first_id += found.trades
            rows.append(found.as_row())
    finally:
        sink.remove_trial()
        print_message("the trial's tables were removed")
    return rows


def _print_bench(rows: list[dict[str, Any]]) -> None:
    print_table((Column("offered/s", right=True), Column("taken/s", right=True), Column("could take/s", right=True),
                 Column("batches", right=True), Column("p50 ms", right=True), Column("p99 ms", right=True),
                 Column("late s", right=True), Column("CPU %", right=True), Column("RSS MB", right=True)),
                ([f"{row['offered_per_s']:,}", f"{row['taken_per_s']:,.0f}", f"{row['could_take_per_s']:,.0f}",
                  f"{row['batches']:,}", f"{row['p50_ms']:,.1f}", f"{row['p99_ms']:,.1f}", f"{row['late_s']:.1f}",
                  f"{row['cpu_percent']:.0f}", f"{row['rss_bytes'] / 1e6:,.0f}"] for row in rows))
    print_message("CPU and RSS are those of this process, not of the server")
    for row in rows:
        if row["behind"]:
            print_message(f"the sink did not keep up with {row['offered_per_s']:,} trades/s: "
                          f"it answered {row['late_s']:.1f} s late")
