"""`pumpwatch replay`: serve a recorded listing in the exchanges' own protocols."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pumpwatch.commands.options import FiniteRange, json_option
from pumpwatch.commands.output import print_json, print_message

if TYPE_CHECKING:
    from pumpwatch.playback.replay import Playback, PlaybackProgress

DATA = "replay-data"  # the folder into which a collector with the printed config writes
PROGRESS_S = 5.0
MAX = "max"


class Speed(click.ParamType[float]):
    """A factor above 0, or `max`."""

    name = "N|max"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from pumpwatch.playback.tape_clock import AS_FAST_AS_TAKEN

        if value == MAX:
            return AS_FAST_AS_TAKEN
        try:
            speed = float(value)
        except ValueError:
            speed = 0.0
        if not 0 < speed <= 1_000_000:
            self.fail(f"{value!r} is neither a number above 0 nor `{MAX}`", param, ctx)
        return speed


@click.command()
@click.option("--archive", required=True, metavar="DIR", type=click.Path(path_type=Path),
              help="The archive to play: a folder such as SOMI_20261103T060000Z.")
@click.option("--speed", type=Speed(), default="1", show_default=True, metavar="[N|max]",
              help="Play N times as fast as it was recorded; `max`: as fast as the clients read.")
@click.option("--times", type=click.Choice(("shifted", "recorded")), default="shifted", show_default=True,
              help="Shift all times to now, or keep the recorded ones.")
@click.option("--wait", "wait_for", type=click.IntRange(1), is_flag=False, flag_value=1, default=None, metavar="[N]",
              help="Begin once clients have subscribed to trades of N venues; 1 by default.")
@click.option("--lead-s", type=FiniteRange(0, 86_400), metavar="N",
              help="Begin N seconds before the notice; by default at the first trade. The REST history has the earlier trades.")
@click.option("--notice-at", type=click.Choice(("published", "detected")), default="published", show_default=True,
              help="Show the notice at its time of publication, or when the recording collector saw it.")
@click.option("--loop", is_flag=True, help="Begin again after the end, until stopped.")
@click.option("--port", "first_port", type=click.IntRange(1, 65_500), metavar="N",
              help="Listen on ports from N on, the venues in alphabetical order; by default on free ports.")
@click.option("--folder", metavar="DIR", type=click.Path(file_okay=False),
              help="Put the certificate authority here; by default into a folder that is removed at the end.")
@json_option
def replay(archive: Path, speed: float, times: str, wait_for: int | None, lead_s: float | None, notice_at: str, loop: bool,
           first_port: int | None, folder: str | None, as_json: bool) -> int:
    """Play a recorded listing to your bot, as the exchanges did.

    Its venues and boards are served on loopback in the exchanges' own protocols. ccxt, cryptofeed, hummingbot, your own bot or a
    PumpWatch collector connects to them as to the exchanges. Trades have their recorded ids, prices and quantities and come at
    their recorded moments, as does the notice on the board. Ends with exit code 0 after the last trade. This is not `pumpwatch
    listing replay`, which rebuilds an archive from the store.

    Prints the config that points a collector at it (with --json the bare addresses, and the figures at the end). Addresses, hints
    for ccxt and cryptofeed, and the progress go to stderr.

    \b
    Example: pumpwatch replay --archive data/SOMI_20261103T060000Z --wait
             pumpwatch replay --archive DIR --speed 10 --port 9443 > replay.yaml
    """
    from pumpwatch.playback.archived import read_archived
    from pumpwatch.playback.replay import PlayOptions, play
    from pumpwatch.sim.collector_config import config_yaml
    from pumpwatch.sim.server import load_dialects

    archived = read_archived(archive)
    options = PlayOptions(speed=speed, recorded_times=times == "recorded", lead_s=lead_s, wait_for=wait_for or 0, loop=loop,
                          detected=notice_at == "detected", first_port=first_port or 0,
                          folder=str(Path(folder).absolute()) if folder else "")

    def listening(addresses: dict[str, Any], replay: Playback) -> None:
        if as_json:
            print_json([addresses])
        else:
            print(config_yaml(addresses, DATA), flush=True)
        print_message(*_about(addresses, replay))

    progress = ReplayProgress(print_message)
    ended = play(archived, options, load_dialects(), listening=listening, progress=progress.show)
    progress.end()
    print_message(f"{'all trades were played' if ended.trades == ended.of else 'stopped'}: {_line(ended)}")
    if as_json:
        print_json([{"trades": ended.trades, "of": ended.of, "sent": ended.sent, "notices": ended.notices}])
    return 0


def _about(addresses: dict[str, Any], replay: Playback) -> list[str]:
    """Return the addresses, and hints for clients that connect to them."""
    archived, ca_file = replay.archived, addresses["ca_file"]
    lines = [f"{archived.path.name}: {archived.trades:,} trades of {archived.coin} on {len(replay.venues)} venues", ""]
    wide = max(map(len, [*addresses["venues"], *addresses["boards"]]))
    lines += [f"  {name:{wide}}  {urls['ws_url']}  {urls['rest_url']}" for name, urls in sorted(addresses["venues"].items())]
    lines += [f"  {name:{wide}}  {board['url']}" for name, board in addresses["boards"].items()]
    lines += ["", f"  certificate authority: {ca_file}",
              "  PumpWatch:  save what stdout got as replay.yaml, then: pumpwatch collect -c replay.yaml",
              f"  ccxt:       {{'cafile': '{ca_file}'}}, and these addresses in exchange.urls['api']",
              f"  cryptofeed: SSL_CERT_FILE={ca_file}, and websocket_endpoints of the feed's class",
              "  how, client by client: docs/replay.md"]
    if replay.unspoken:
        lines.append(f"  left out, because no plugin simulates them: {', '.join(replay.unspoken)}")
    if unusable := sum(venue.left_out for venue in archived.venues):
        lines.append(f"  left out: {unusable:,} trades without a usable price or quantity")
    return lines


class ReplayProgress:
    """Prints the progress: rewrites one line on a terminal, else prints a line every PROGRESS_S and at each new state."""

    def __init__(self, print_line: Callable[[str], None], now_s: Callable[[], float] = time.monotonic) -> None:
        self._print_line, self._now_s = print_line, now_s
        self._state, self._printed_s = "", 0.0

    def show(self, played: PlaybackProgress) -> None:
        """Show the progress, if a line is due."""
        if sys.stderr.isatty():
            self._state = played.state
            sys.stderr.write(f"\r\x1b[K{_line(played)}")
            sys.stderr.flush()
        elif played.state != self._state or self._now_s() - self._printed_s >= PROGRESS_S:
            self._state, self._printed_s = played.state, self._now_s()
            self._print_line(_line(played))

    def end(self) -> None:
        """End the line on a terminal."""
        if self._state and sys.stderr.isatty():
            sys.stderr.write("\n")


def _line(played: PlaybackProgress) -> str:
    if played.state == "waiting":
        return f"waiting for a client that subscribes to trades, {played.clients} connected"
    when = f"{abs(played.tape_s):.1f} s {'before' if played.tape_s < 0 else 'after'} the notice"
    return f"{when}: {played.trades:,} of {played.of:,} trades played, {played.sent:,} sent, {played.clients} clients connected"
