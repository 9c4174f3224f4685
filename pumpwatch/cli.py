"""The command line: every command, its exit code, and one clear message for every error.

Exit codes: 0 fine, 1 the command found what it looked for, 2 wrong usage, 69 a service does not answer, 74 disk error,
78 invalid config, 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

import click

from pumpwatch import __version__
from pumpwatch.commands import (
    backups,
    cluster,
    data,
    databases,
    health,
    host,
    journal,
    listings,
    market,
    notify,
    paper,
    replay,
    retention,
    rollouts,
    running,
    verify,
)
from pumpwatch.commands.output import print_message
from pumpwatch.errors import EXIT_DISK, EXIT_INTERRUPTED, EXIT_OK, PumpWatchError
from pumpwatch.ops.logs import PrintableFormatter


class Commands(click.Group):
    """The group of all commands. A reader that stops early (`| head`) is not an error."""

    def invoke(self, ctx: click.Context) -> int:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_OK
        return code if isinstance(code, int) else EXIT_OK


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="pumpwatch")
def pumpwatch() -> None:
    """Record every public trade around new exchange listings.

    \b
    See it work, on simulated venues:  pumpwatch demo
    Run it:                            pumpwatch collect
    Look at it:                        pumpwatch status --watch
    \b
    Tables fit the terminal; COLUMNS=120 sets another width.
    Completion by Tab in this shell (bash_source, zsh_source or fish_source):
      eval "$(_PUMPWATCH_COMPLETE=bash_source pumpwatch)"
    """


for command in (
    running.collect, running.renew, running.demo, running.simulate, replay.replay, data.trades, data.decode, data.titles,
    data.init_symbols, market.candles, market.ticker, market.orderbook, market.stats, market.store, listings.listing,
    notify.notify, paper.paper, health.status, health.check, health.doctor, health.plugins,
    databases.db, cluster.cluster, rollouts.rollout, rollouts.bench_sink,
    journal.gaps, verify.verify, backups.backup, backups.restore, retention.retention, host.install,
    host.uninstall,
):
    pumpwatch.add_command(command)


def run(args: Sequence[str]) -> int:
    """Run one command line and return its exit code; print every error as one message on stderr."""
    if logging.lastResort is not None:  # for warnings of commands without a log
        logging.lastResort.setFormatter(PrintableFormatter())
    try:
        code = pumpwatch.main(list(args), prog_name="pumpwatch", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return EXIT_INTERRUPTED
    except PumpWatchError as error:
        print_message(f"pumpwatch: {error.message}", *([f"  {error.hint}"] if error.hint else []))
        return error.exit_code
    except OSError as error:
        print_message(f"pumpwatch: {error.filename or 'disk'}: {error.strerror or error}")
        return EXIT_DISK
    return code if isinstance(code, int) else EXIT_OK
