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
    from pumpwatch.rollout.state import State

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


def _state(config: Config) -> State:
    """Return the state of the roll-out that the config names. Raises UsageError without one, StorageError where it is damaged."""
    from pumpwatch.errors import UsageError
    from pumpwatch.rollout.state import State, read_state

    sink = config.rollout.sink
    if not sink:
        raise UsageError("the config rolls no sink out", "name one in `rollout.sink`, see docs/rollout.md")
    state = read_state(Path(config.store.dir))
    return state if state is not None and state.sink == sink else State(sink=sink)


def _row(state: State) -> dict[str, Any]:
    import msgspec

    from pumpwatch.rollout.report import figures

    return {"sink": state.sink, "status": state.status, "percent": state.percent, "ran_s": round(state.ran_s, 1),
            "started_at_ns": state.started_at_ns, "phase_at_ns": state.phase_at_ns, "reason": state.reason,
            **figures(state.answers), "changes": msgspec.to_builtins(state.changes)}


def _print(config: Config, state: State) -> None:
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


def _standing(state: State, percent: int) -> str:
    if percent == state.percent:
        return f"{state.status}, for {state.ran_s / 3600:,.1f} h" if state.status != "done" else "done"
    return "done" if percent < state.percent else ""


def _control(context: click.Context, action: str, reason: str) -> int:
    """Ask the running collector, and wait for its answer. Raises UsageError with its refusal."""
    from pumpwatch.errors import ServiceUnavailable, UsageError
    from pumpwatch.ops import health
    from pumpwatch.rollout.request import RolloutRequest, drop

    config: Config = context.obj
    folder = Path(config.store.dir)
    _state(config)
    health.read(folder)
    number = drop(folder, RolloutRequest(action, reason))
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
@click.pass_context
def start(context: click.Context, reason: str) -> int:
    """Start the roll-out, or go on after a pause or a roll-back.

    \b
    Example: pumpwatch rollout start
    """
    return _control(context, "start", reason)


@rollout.command()
@_reason
@click.pass_context
def pause(context: click.Context, reason: str) -> int:
    """Stop the time of the phase: the sink keeps its share, and goes on being compared.

    \b
    Example: pumpwatch rollout pause --reason "a release is due"
    """
    return _control(context, "pause", reason)


@rollout.command()
@_reason
@click.pass_context
def advance(context: click.Context, reason: str) -> int:
    """Begin the next phase now, whatever was found.

    \b
    Example: pumpwatch rollout advance
    """
    return _control(context, "advance", reason)


@rollout.command()
@_reason
@click.pass_context
def back(context: click.Context, reason: str) -> int:
    """Take the sink back to the share before: from the first phase to nothing. Nothing is lost, the journal keeps it.

    \b
    Example: pumpwatch rollout back --reason "odd prices"
    """
    return _control(context, "back", reason)
