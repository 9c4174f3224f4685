"""Check everything that a collector needs before it runs.

`check` examines this machine: config, plugins, data folder, disk, clock. With `connect` it also connects to every configured
service: REST and WebSocket of each venue, each notice board, each sink. It only writes a probe file in the data folder, and
removes it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import ENV_PREFIX, Config, VenueConfig, options_of, source_options
from pumpwatch.config_listing import SourceConfig
from pumpwatch.errors import EXIT_FOUND, EXIT_OK, EXIT_UNAVAILABLE, ConfigError, PluginError, PumpWatchError, ServiceUnavailable
from pumpwatch.findings import FAIL, NOTE, OK, UNREACHABLE, WARN, Finding
from pumpwatch.hookspecs import PolledSource, PushSource
from pumpwatch.net.proxy import Proxies
from pumpwatch.net.texts import masked, one_line
from pumpwatch.notify.channels import make_channels
from pumpwatch.ops.cluster_check import cluster_findings
from pumpwatch.ops.exposed_secrets import exposed_secrets
from pumpwatch.ops.machine import kernel_clock, machine_findings
from pumpwatch.ops.redis_check import library_findings, server_findings
from pumpwatch.plugins import Plugins, load_plugins
from pumpwatch.sink_abilities import AdvisingSink, DescribedSink
from pumpwatch.store.sqlite import ANOTHER_FOLDER
from pumpwatch.supervisor import guarded
from pumpwatch.venue import Venue

LOW_DISK_BYTES = 2_000_000_000  # two hours of every trade on every venue, and SQLite's temporary files
FULL_DISK_BYTES = 200_000_000
EARLIEST_NS = 1_735_689_600 * NS_PER_S  # 2025-01-01: an earlier clock was never set
REJECTED_HINT = dict.fromkeys((403, 418, 429, 451), "it rejects requests from this address: use another host or a proxy")
AT_ONCE = 8  # services that are checked at the same time
LONGEST = 300  # characters of the message of a plugin's exception
SYNC_MARK = Path("/run/systemd/timesync/synchronized")


def check(config: Config, connect: bool = False, plugins: Plugins | None = None) -> list[Finding]:
    """Return every finding, in order. Problems do not raise errors."""
    plugins = plugins or load_plugins(config)
    findings = [Finding("config", OK, "every key is known and of its type"), *_proxy_findings(config),
               *_notify_findings(config),
                *_plugin_findings(config, plugins), *_folder_findings(Path(config.store.dir)), *_clock_findings(Clock()),
                *machine_findings()]
    findings += library_findings(config)
    return [*findings, *_service_findings(config, plugins), *server_findings(config),
            *cluster_findings(config, plugins)] if connect else findings


def exit_code(findings: list[Finding], *, settled: bool = False) -> int:
    """Return 0, 1 if a check fails, or 69 if only a service cannot be reached. settled: a note counts as a failure."""
    states = {finding.state for finding in findings}
    if FAIL in states or (settled and NOTE in states):
        return EXIT_FOUND
    return EXIT_UNAVAILABLE if UNREACHABLE in states else EXIT_OK


def _proxy_findings(config: Config) -> Iterator[Finding]:
    try:
        used = Proxies(config.net.proxy).describe()
    except ConfigError as error:
        yield Finding("proxy", FAIL, error.message, error.hint)
        return
    if used:
        yield Finding("proxy", OK, used)


def _plugin_findings(config: Config, plugins: Plugins) -> Iterator[Finding]:
    good = [plugin["name"] for plugin in plugins.describe() if plugin["status"] == "ok"]
    yield Finding("plugins", OK if good else FAIL, ", ".join(good) or "no plugin can be used",
                  "" if good else "install one, or set plugins.folder to the folder that has it")
    for name, reason in plugins.problems:
        yield Finding(f"plugin {name}", FAIL, reason, "correct the plugin, or name it in plugins.disabled")
    for line in plugins.unmet(config):
        key, _, text = line.partition(": ")
        yield Finding(key, FAIL, text, "remove the section from the config, or install the plugin")
    try:
        venues = [venue.name for venue, _ in plugins.chosen(config)]
        yield Finding("venues", OK if venues else FAIL, ", ".join(venues) or "no venue is chosen",
                      "" if venues else "enable one in the section exchanges of the config")
    except PluginError as error:
        yield Finding("exchanges", FAIL, error.message, error.hint)
    for name in config.sinks:
        if name in plugins.sinks:
            yield _options_finding(config, name, plugins)
    for name in config.listing.sources:
        source = plugins.sources.get(name)
        if isinstance(source, PushSource):
            try:
                source_options(config, source)
            except PumpWatchError as error:
                yield Finding(f"listing {name}", FAIL, error.message, error.hint)


def _notify_findings(config: Config) -> Iterator[Finding]:
    try:
        names = [channel.name for channel in make_channels(config)]
    except ConfigError as error:
        yield Finding("notify", FAIL, error.message, error.hint)
    else:
        if names:
            yield Finding("notify", OK, f"channels: {', '.join(names)}", "`pumpwatch notify test` sends each a message")
    for key, reason in exposed_secrets(config):
        yield Finding(key, WARN, f"its secret can be read by every user: {reason}",
                      f"chmod o-r, or leave the key out and set {ENV_PREFIX}{key.upper().replace('.', '__')}")


def _options_finding(config: Config, name: str, plugins: Plugins) -> Finding:
    try:
        options_of(config, "sinks", name, plugins.sinks[name].options)
    except PumpWatchError as error:
        return Finding(f"sinks.{name}", FAIL, error.message, error.hint)
    return Finding(f"sinks.{name}", OK, "every option is known and of its type")


def _folder_findings(folder: Path) -> Iterator[Finding]:
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        if not place.is_dir():
            raise NotADirectoryError(20, f"{place} is a file")
        with tempfile.NamedTemporaryFile(dir=place, prefix=".pumpwatch-check-") as probe:
            probe.write(b"x")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        yield Finding("data folder", FAIL, f"{folder}: {error.strerror or error}", ANOTHER_FOLDER)
        return
    new = "" if place == folder.absolute() else ", and will be created"
    yield Finding("data folder", OK, f"{folder.absolute()} is writable{new}")
    free = shutil.disk_usage(place).free
    state = FAIL if free < FULL_DISK_BYTES else WARN if free < LOW_DISK_BYTES else OK
    yield Finding("free disk", state, f"{free / 1e9:.1f} GB",
                  "" if state == OK else "free space, or lower store.max_bytes and store.retention_hours")


def _clock_findings(clock: Clock) -> Iterator[Finding]:
    wall, steady = clock.now_ns(), clock.monotonic()
    time.sleep(0.05)
    drift_ms = abs((clock.now_ns() - wall) / 1e6 - (clock.monotonic() - steady) * 1e3)
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(wall / NS_PER_S))
    if wall < EARLIEST_NS:
        yield Finding("clock", FAIL, f"it says {text}", "set it: every window and every gap depends on this clock")
    elif drift_ms > 20:
        yield Finding("clock", WARN, f"{text}, and it moved {drift_ms:.0f} ms against the monotonic clock within 50 ms",
                      "a program steps the clock: have one NTP service adjust it gradually")
    else:
        yield Finding("clock", OK, text)
    synchronised, kernel = _ntp_synchronised(), kernel_clock()
    error = f", within {kernel[1]:.0f} ms" if kernel is not None and kernel[0] else ""
    if synchronised is None and kernel is not None:
        synchronised = kernel[0]
    if synchronised is None:
        yield Finding("clock sync", WARN, "this machine does not report whether its clock is synchronised",
                      "run one: `apt install systemd-timesyncd`; lag figures and windows depend on the clock")
    elif synchronised:
        yield Finding("clock sync", OK, f"synchronised by NTP{error}")
    else:
        yield Finding("clock sync", WARN, "not synchronised by NTP", "enable NTP: `timedatectl set-ntp true`")


def _ntp_synchronised() -> bool | None:
    """Return whether NTP synchronises the clock; None if the machine does not report it."""
    if SYNC_MARK.exists():
        return True
    program = shutil.which("timedatectl")
    if program is None:
        return None
    try:
        answer = subprocess.run([program, "show", "--property=NTPSynchronized", "--value"], capture_output=True,
                                text=True, timeout=3, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(answer.stdout.strip())


def _service_findings(config: Config, plugins: Plugins) -> Iterable[Finding]:
    """Return a finding for each service, in the order of a trade's path; AT_ONCE services are checked at the same time."""
    from gevent.pool import Pool

    checks: list[tuple[str, Callable[[], str]]] = []
    for venue, options in _chosen(config, plugins):
        checks.append((f"{venue.name} REST", partial(_ask_rest, config, venue, options)))
        checks.append((f"{venue.name} WebSocket", partial(_ask_socket, config, venue, options)))
    for name, source in plugins.sources.items():
        section = config.listing.sources.get(name)
        if section is not None and section.enabled and isinstance(source, PolledSource):
            checks.append((f"listing {name}", partial(_ask_source, config, source, section)))
    checks += [(f"sink {name}", partial(_ask_sink, config, name, plugins)) for name in config.sinks if name in plugins.sinks]
    found: Iterable[Finding] = Pool(AT_ONCE).imap(lambda named: _reach(*named), checks)
    return [*found, *(finding for name in config.sinks if name in plugins.sinks
                      for finding in _sink_advice(config, name, plugins))]


def _sink_advice(config: Config, name: str, plugins: Plugins) -> Iterator[Finding]:
    """Yield the harmful settings of a sink's server; nothing if it does not answer, which another finding reports."""
    kind, found = plugins.sinks[name], list[Finding]()

    def ask() -> None:
        sink = kind.create(options_of(config, "sinks", name, kind.options))
        if isinstance(sink, AdvisingSink):
            found.extend(Finding(f"sink {name}", WARN, detail, hint) for detail, hint in sink.advice())

    guarded(ask, lambda error: None)
    yield from found


def _chosen(config: Config, plugins: Plugins) -> list[tuple[Venue, VenueConfig]]:
    try:
        return plugins.chosen(config)
    except PluginError:
        return []  # another finding reports it


def _reach(name: str, ask: Callable[[], str]) -> Finding:
    """Connect to a service. Any error in a plugin's code is a finding."""
    started = time.monotonic()
    details: list[str] = []
    errors: list[Exception] = []
    guarded(lambda: details.append(ask()), errors.append)
    ms = round((time.monotonic() - started) * 1e3, 1)
    if not errors:
        return Finding(name, OK, details[0], ms=ms)
    error = errors[0]
    if isinstance(error, PumpWatchError):
        state = UNREACHABLE if isinstance(error, ServiceUnavailable) else FAIL
        return Finding(name, state, error.message, error.hint, ms)
    return Finding(name, FAIL, f"its plugin raises {type(error).__name__}: {one_line(str(error), LONGEST)}",
                   "the plugin has an error: report it to its author", ms)


def _ask_rest(config: Config, venue: Venue, options: VenueConfig) -> str:
    url = (options.rest_url or venue.rest_url).rstrip("/")
    request = venue.instruments_requests[0]
    detail = _get(config, url + request.path, venue.headers, request.params, request.method)
    missing = _unlisted(config, venue, url, options.symbols) if options.symbols else {}
    if missing:
        nearest = ", ".join(name for name in missing.values() if name)
        raise PumpWatchError(f"symbols of the config that are not listed: {', '.join(missing)}",
                             f"did you mean {nearest}?" if nearest else "`pumpwatch init-symbols` writes the listed symbols")
    return detail


def _unlisted(config: Config, venue: Venue, url: str, symbols: Sequence[str]) -> dict[str, str]:
    from pumpwatch.feeds.rate_limits import VenueRateLimits
    from pumpwatch.instruments.lists import fetch_instruments, unlisted
    from pumpwatch.net.http import Http
    from pumpwatch.net.ws import tls_context

    http = Http(tls_context(config.net.ca_file), config.net.connect_timeout_s, config.net.proxy)
    budget = VenueRateLimits(Clock()).requests(venue)
    return unlisted(fetch_instruments(venue, lambda request: http.ask(url, request, venue.headers, budget)), symbols)


def _ask_source(config: Config, source: PolledSource, section: SourceConfig) -> str:
    return _get(config, section.url or source.url, source.headers, {}, "GET")


def _get(config: Config, url: str, headers: Mapping[str, str], params: Mapping[str, str | int], method: str) -> str:
    from pumpwatch.net.http import Http
    from pumpwatch.net.ws import tls_context

    http = Http(tls_context(config.net.ca_file), config.net.connect_timeout_s, config.net.proxy)
    response = http.fetch(url, headers, params, method)
    if response.status >= 400:
        raise ServiceUnavailable(f"{masked(url)} answers HTTP {response.status}", REJECTED_HINT.get(
            response.status, "check the address in the config; the service may also be down for the moment"))
    return f"{masked(url)} answers HTTP {response.status}, {len(response.body):,} bytes"


def _ask_socket(config: Config, venue: Venue, options: VenueConfig) -> str:
    from pumpwatch.net.ws import Dialer, tls_context

    url = options.ws_url or venue.ws_url
    dialer = Dialer(tls_context(config.net.ca_file), config.net.connect_timeout_s, config.net.proxy)
    dialer.open(url, venue.headers).close()
    return f"{masked(url)} accepts connections"


def _ask_sink(config: Config, name: str, plugins: Plugins) -> str:
    kind = plugins.sinks[name]
    sink = kind.create(options_of(config, "sinks", name, kind.options))
    try:
        sink.open()
        trouble = sink.trouble()
        found = sink.server() if isinstance(sink, DescribedSink) else "open"
    finally:
        sink.close()
    if trouble:
        raise PumpWatchError(trouble, "see the sink's own log; the journal keeps the trades until it accepts them")
    return f"{found}, and its tables are correct"
