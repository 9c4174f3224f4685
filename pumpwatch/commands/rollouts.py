"""The roll-out of a sink: look at it, control it; and measure a sink before it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pumpwatch.commands.options import config_option, json_option, with_config
from pumpwatch.commands.output import print_json, print_table, put, say
from pumpwatch.commands.table import Column

if TYPE_CHECKING:
    from pumpwatch.config import Config
    from pumpwatch.rollout.state import RolloutState

TAKEN_WITHIN_S, POLL_S = 15.0, 0.1


@click.group(invoke_without_command=True)
@json_option
@config_option
@click.pass_context
def rollout(context: click.Context, as_json: bool, config: Config) -> int:
    """Show how far a sink is rolled out, and control it.

    The section `rollout` of the config names a sink that gets its instruments in phases: 10, 50, 100 %. Meanwhile its answers are
    compared with those of memory and journal, which count, and it is taken back where it fails. Without a subcommand the state is
    shown. Exit code 1 after a roll-back, or where differences were found.

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
        say(f"this is the state as it was last written: {error.message}")
    if as_json:
        print_json([_row(state)])
    else:
        _print(config, state)
    return EXIT_FOUND if state.status == "rolled back" or state.answers.different else EXIT_OK


def _state(config: Config) -> RolloutState:
    """Return the state of the roll-out that the config names. Raises UsageError without one, StorageError where it is damaged."""
    from pumpwatch.errors import UsageError
    from pumpwatch.rollout.state import RolloutState, read_state

    sink = config.rollout.sink
    if not sink:
        raise UsageError("the config rolls no sink out", "name one in `rollout.sink`, see docs/rollout.md")
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
    put(f"{state.sink}: {state.status}, {state.percent} % of the instruments" + (f" ({state.reason})" if state.reason else ""))
    print_table((Column("phase", right=True), Column("duration", right=True), Column("fallback"), Column("state", wraps=True)),
                ([f"{phase.percent} %", f"{phase.duration_h:g} h", "on" if phase.fallback else "off",
                  _standing(state, phase.percent)] for phase in config.rollout.phases))
    put(f"queries {found['queries']:,}, failed {found['failed']:,}; mean {found['mean_ms']} ms, p50 {found['p50_ms']} ms,"
        f" p99 {found['p99_ms']} ms; {found['trades']:,} trades compared")
    put("differences: " + (", ".join(f"{number:,} {kind}" for kind, number in found["differences"].items() if number) or "none"))
    if state.changes:
        print_table((Column("since (UTC)"), Column("state"), Column("share", right=True), Column("reason", wraps=True)),
                    ([iso(change.at_ns)[:19].replace("T", " "), change.status, f"{change.percent} %", change.reason]
                     for change in state.changes[-10:]))


def _standing(state: RolloutState, percent: int) -> str:
    if percent == state.percent:
        return f"{state.status}, for {state.ran_s / 3600:,.1f} h" if state.status != "done" else "done"
    return "done" if percent < state.percent else ""


def _control(context: click.Context, config: Config, action: str, reason: str) -> int:
    """Ask the running collector, and wait for its answer. Raises UsageError with its refusal.

    `-c` may stand before the subcommand or after it.
    """
    from pumpwatch.errors import ServiceUnavailable, UsageError
    from pumpwatch.ops import health
    from pumpwatch.rollout.request import RolloutRequest, drop_request

    config = config if config.source.is_file else context.obj
    folder = Path(config.store.dir)
    _state(config)
    health.read(folder)
    number = drop_request(folder, RolloutRequest(action, reason))
    deadline = time.monotonic() + TAKEN_WITHIN_S
    while number not in (state := _state(config)).answered:
        if time.monotonic() > deadline:
            raise ServiceUnavailable(f"the collector on {folder} has not taken the request within {TAKEN_WITHIN_S:.0f} s",
                                     "was it started with this config? look at its log")
        time.sleep(POLL_S)
    if state.answered[number]:
        raise UsageError(state.answered[number])
    put(f"{state.sink}: {state.status}, {state.percent} % of the instruments")
    say(f"`pumpwatch rollout{with_config(config)}` shows how it goes")
    return 0


def _reason(command: Any) -> Any:
    return click.option("--reason", default="", metavar="TEXT", help="Noted with the change.")(command)


@rollout.command()
@_reason
@config_option
@click.pass_context
def start(context: click.Context, reason: str, config: Config) -> int:
    """Start the roll-out, or go on after a pause or a roll-back.

    \b
    Example: pumpwatch rollout start
    """
    return _control(context, config, "start", reason)


@rollout.command()
@_reason
@config_option
@click.pass_context
def pause(context: click.Context, reason: str, config: Config) -> int:
    """Stop the time of the phase: the sink keeps its share, and goes on being compared.

    \b
    Example: pumpwatch rollout pause --reason "a release is due"
    """
    return _control(context, config, "pause", reason)


@rollout.command()
@_reason
@config_option
@click.pass_context
def advance(context: click.Context, reason: str, config: Config) -> int:
    """Begin the next phase now, whatever was found.

    \b
    Example: pumpwatch rollout advance
    """
    return _control(context, config, "advance", reason)


@rollout.command()
@_reason
@config_option
@click.pass_context
def back(context: click.Context, reason: str, config: Config) -> int:
    """Take the sink back to the share before: from the first phase to nothing. Nothing is lost, the journal keeps it.

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
@click.option("--seconds", type=click.FloatRange(1, 3600), default=15.0, show_default=True, help="For each rate; a burst is one.")
@json_option
@config_option
def bench_sink(name: str, rates: tuple[int, ...], seconds: float, as_json: bool, config: Config) -> int:
    """Measure a configured sink under load, beside its trades.

    NAME is that of the sink in the config; without it the only one. Made-up trades of an exchange `bench` go to tables of their
    own, which are removed at the end, also after Ctrl-C. No running collector is needed or touched. A batch is the trades of a
    second, as a drain sends them. Exit code 1 if the sink did not keep up, 69 if it does not answer.

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
        raise UsageError("the config has no sink to measure", "add one, such as `sinks: {questdb: {addr: 127.0.0.1:9000}}`, and"
                         " give the file with -c; `packaging/questdb start DIR` starts a server")
    name = name or (next(iter(sinks)) if len(sinks) == 1 else "")
    if name not in sinks:
        raise UsageError(f"the config has no sink {name!r}" if name else f"the config has {len(sinks)} sinks: name one",
                         f"known: {', '.join(sinks)}")
    real = sinks[name]
    if not isinstance(real, TrialSink):
        raise UsageError(f"{name} has no place of its own for a trial", "its plugin lacks `trial`, see docs/plugins.md")
    sink = real.trial(f"{int(time.time())}_{os.getpid()}")
    loads = [Load(rate, seconds) if rate else Load(BURST, 1.0) for rate in rates]
    assert isinstance(sink, TrialSink)
    say(f"writes {sum(round(load.rate * load.seconds) for load in loads):,} made-up trades in about"
        f" {sum(load.seconds + 1 for load in loads):.0f} s to {sink.trial_place()}; all of it is removed at the end")
    rows = _measured(sink, loads)
    if as_json:
        print_json(rows)
    else:
        _print_bench(rows)
    return EXIT_FOUND if any(row["behind"] or row["rejected"] for row in rows) else EXIT_OK


def _measured(sink: Any, loads: list[Any]) -> list[dict[str, Any]]:
    """Offer the loads one after the other, and remove everything at the end."""
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
        say("the trial's tables are removed")
    return rows


def _print_bench(rows: list[dict[str, Any]]) -> None:
    print_table((Column("offered/s", right=True), Column("taken/s", right=True), Column("could take/s", right=True),
                 Column("batches", right=True), Column("p50 ms", right=True), Column("p99 ms", right=True),
                 Column("late s", right=True), Column("CPU %", right=True), Column("RSS MB", right=True)),
                ([f"{row['offered_per_s']:,}", f"{row['taken_per_s']:,.0f}", f"{row['could_take_per_s']:,.0f}",
                  f"{row['batches']:,}", f"{row['p50_ms']:,.1f}", f"{row['p99_ms']:,.1f}", f"{row['late_s']:.1f}",
                  f"{row['cpu_percent']:.0f}", f"{row['rss_bytes'] / 1e6:,.0f}"] for row in rows))
    say("CPU and RSS are those of this process, which makes the rows; those of the server are not in them")
    for row in rows:
        if row["behind"]:
            say(f"the sink did not keep up with {row['offered_per_s']:,} trades/s: it answered {row['late_s']:.1f} s late")
