"""The config file: every key, and what is said about a wrong one."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from pumpwatch.config import Config, ExchangeConfig, Keys, VenueConfig, load, options_of
from pumpwatch.config_listing import ListingConfig, SourceConfig
from pumpwatch.errors import EXIT_CONFIG, ConfigError
from pumpwatch.listing.context import Reach, reaches_of
from pumpwatch.plugins import load_plugins

SHIPPED = Path(__file__).parent.parent / "config" / "pumpwatch.yaml"


def load_text(folder: Path, text: str, **environ: str) -> Config:
    file = folder / "pumpwatch.yaml"
    file.write_text(text)
    return load(file, environ)


def refusal(folder: Path, text: str, **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_text(folder, text, **environ)
    assert caught.value.exit_code == EXIT_CONFIG
    return caught.value


def test_the_shipped_file_holds_every_key_at_its_default() -> None:
    written, defaults = yaml.safe_load(SHIPPED.read_text()), msgspec.to_builtins(Keys())
    paths = [(written, defaults, "symbols_file"), *((written[one], defaults[one], key) for one, key in (
        ("store", "dir"), ("listing", "archive_dir")))]
    for place, known, key in paths:  # one with a value would count from the file's folder
        assert place[key] is None
        assert re.search(rf"^ *{key}: +# {re.escape(known[key])}; ", SHIPPED.read_text(), re.MULTILINE)
        place[key] = known[key]
    sources = written["listing"]["sources"]
    assert all(keys == {"enabled": True} for name, keys in sources.items() if name != "upbit")
    sources.update(dict.fromkeys(sources.keys() - {"upbit"}, msgspec.to_builtins(SourceConfig())))
    exchanges = written.pop("exchanges")
    whole = ExchangeConfig(spot=VenueConfig(), futures=VenueConfig())
    assert next(iter(exchanges.values())) == msgspec.to_builtins(whole)  # the others have the same keys
    assert all(keys == {"enabled": True} for name, keys in exchanges.items() if name != "binance")
    assert {**written, "exchanges": {}} == defaults
    plugins = load_plugins(Config())
    wanted = {venue.name: part for venue, part in plugins.chosen(Config())}
    assert {venue.name: part for venue, part in plugins.chosen(load(SHIPPED, {}))} == wanted


def test_every_key_of_the_shipped_file_that_needs_words_has_a_comment() -> None:
    lines = SHIPPED.read_text().splitlines()
    first_seen: set[str] = set()
    for line in lines:
        key = re.match(r"\s*(\w+): \S", line)
        if key and key.group(1) not in first_seen | {"enabled", "rest_url"}:
            assert "#" in line, line
            first_seen.add(key.group(1))


def test_every_exchange_and_source_that_ships_is_in_the_shipped_file() -> None:
    plugins, config = load_plugins(Config()), load(SHIPPED, {})
    assert {venue.exchange for venue in plugins.venues} == set(config.exchanges)
    assert set(plugins.sources) == set(config.listing.sources)


def test_the_commented_sink_options_are_the_sinks_defaults() -> None:
    text = SHIPPED.read_text()
    commented = text[text.index("#  questdb:"):text.index("\nlisting:")]
    written = yaml.safe_load("\n".join(line[1:] for line in commented.splitlines()))
    options = load_plugins(Config()).sinks["questdb"].options
    assert written["questdb"] == msgspec.to_builtins(options())


def defaults_in(folder: Path) -> Config:
    """Return the defaults, with their paths counted from a folder."""
    config = Config(symbols_file=str(folder / "config" / "symbols.yaml"))
    config.store.dir = config.listing.archive_dir = str(folder / "data")
    return config


def test_no_file_gives_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(None, {}) == defaults_in(tmp_path)


@pytest.mark.parametrize("text", [SHIPPED.read_text(), "log: {level: info}", "store: {dir: , commit_ms: 90}"])
def test_a_path_that_the_file_does_not_have_counts_from_the_working_directory(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "etc").mkdir()
    monkeypatch.chdir(tmp_path)
    config, wanted = load_text(tmp_path / "etc", text, PUMPWATCH_STORE__COMMIT_TRADES="7"), defaults_in(tmp_path)
    assert (config.store.dir, config.listing.archive_dir, config.symbols_file) == (
        wanted.store.dir, wanted.listing.archive_dir, wanted.symbols_file)


def test_the_home_folder_alone_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert load_text(tmp_path, "store: {dir: '~'}").store.dir == "/home/me"


def test_a_section_left_empty_keeps_its_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_text(tmp_path, "store:\nlog:\n  level:\nlisting:\n  sources:\nexchanges:\n") == defaults_in(tmp_path)


def test_a_bare_key_that_names_an_entry_is_that_entry_with_its_defaults(tmp_path: Path) -> None:
    config = load_text(tmp_path, "exchanges: {binance: , okx: {spot: }}\nsinks: {questdb: , other: {addr: , user: x}}\n"
                                 "listing: {sources: {upbit: , mine: }}")
    assert config.exchanges == {"binance": ExchangeConfig(), "okx": ExchangeConfig(spot=VenueConfig())}
    assert config.sinks == {"questdb": {}, "other": {"user": "x"}}
    assert config.listing.sources == {"upbit": SourceConfig(), "mine": SourceConfig()}


def test_a_variable_of_one_exchange_chooses_none(tmp_path: Path) -> None:
    off = {"PUMPWATCH_EXCHANGES__BINANCE__FUTURES__ENABLED": "false", "PUMPWATCH_EXCHANGES__BINANCE__SPOT__SYMBOLS": "[X]"}
    config = load_text(tmp_path, "log: {level: info}", **off)
    assert config.exchanges == {}
    assert config.overrides == {"binance": ExchangeConfig(spot=VenueConfig(symbols=["X"]), futures=VenueConfig(enabled=False))}
    config = load_text(tmp_path, "exchanges: {okx: , gate: }", **off)
    assert list(config.exchanges) == ["okx", "gate"]
    config = load_text(tmp_path, "exchanges: {binance: {futures: {rest_url: 'https://y'}}}", **off)
    assert config.exchanges["binance"].futures == VenueConfig(enabled=False, rest_url="https://y")
    assert config.overrides == {}


def test_a_variable_that_is_the_whole_section_chooses_as_the_file_does(tmp_path: Path) -> None:
    config = load_text(tmp_path, "{}", PUMPWATCH_EXCHANGES="{okx: }", PUMPWATCH_EXCHANGES__OKX__SPOT__ENABLED="false",
                       PUMPWATCH_EXCHANGES__GATE__ENABLED="false")
    assert config.exchanges == {"okx": ExchangeConfig(spot=VenueConfig(enabled=False))}
    assert config.overrides == {"gate": ExchangeConfig(enabled=False)}


def test_a_variable_of_one_notice_board_takes_no_other_away_and_switches_none_on(tmp_path: Path) -> None:
    fast = {"PUMPWATCH_LISTING__SOURCES__UPBIT__INTERVAL_S": "3", "PUMPWATCH_LISTING__SOURCES__MINE__INTERVAL_S": "4",
            "PUMPWATCH_LISTING__SOURCES__MINE__ENABLED": "true"}
    usual = {**ListingConfig().sources, "upbit": SourceConfig(interval_s=3)}
    for text, chosen in (("{}", usual), ("listing: {sources: {}}", {}),
                         ("listing: {sources: {bithumb: }}", {"bithumb": SourceConfig()}),
                         ("listing: {sources: {mine: {url: 'https://m'}}}", {"mine": SourceConfig(interval_s=4, url="https://m")})):
        assert load_text(tmp_path, text, **fast).listing.sources == chosen
    config = load_text(tmp_path, "{}", PUMPWATCH_LISTING__SOURCES="{mine: }", **fast)
    assert (config.listing.sources, list(config.idle_sources)) == ({"mine": SourceConfig(interval_s=4)}, ["upbit"])


@pytest.mark.parametrize("url", [
    "wss://user:pa/ss@127.0.0.1:1/ws", "wss://user:12/ss@127.0.0.1:1/ws", "wss://user:pa?ss@h/ws", "wss://user:pa#ss@h/ws",
    "wss://user:pass@h:0x/ws", "https://user:pass@h/", "user:pass@h", "wss://user:pass@/x", "wss://user:pass@h i/x"])
def test_an_address_that_is_none_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    error = refusal(tmp_path, f"exchanges: {{a: {{spot: {{ws_url: '{url}'}}}}}}")
    assert "exchanges.a.spot.ws_url: " in error.message and "not a ws or wss address" in error.message
    variable = "PUMPWATCH_LISTING__SOURCES__UPBIT__URL"
    told = refusal(tmp_path, "{}", **{variable: url.replace("https", "ftp")})
    assert f"environment {variable}: listing.sources.upbit.url: " in told.message
    rest = refusal(tmp_path, "{}", PUMPWATCH_EXCHANGES__A__FUTURES__REST_URL=url.replace("https", "ftp"))
    for said in (error, told, rest):
        text = f"{said.message} {said.__cause__} {said.__context__}".replace(str(tmp_path), "")
        assert not re.search("pa[/?#]|pass|ss@|12/|'pa'", text)


@pytest.mark.parametrize(("listing", "key", "problem"), [
    ("longer_windows: [{before_s: 300, after_s: 20}]", ".0", "after_s must be more than 20, the value of the previous window"),
    ("longer_windows: [{before_s: 10, after_s: 60}]", ".0", "before_s must be at least 20, the value of the previous window"),
    ("longer_windows: [{before_s: 20, after_s: 60}, {before_s: 30, after_s: 40}]", ".1", "after_s must be more than 60"),
    ("longer_windows: [{before_s: 0, after_s: 259200}], before_s: 0", ".0", "must be shorter than store.retention_hours, 72 h"),
])
def test_longer_windows_each_contain_the_one_before(tmp_path: Path, listing: str, key: str, problem: str) -> None:
    error = refusal(tmp_path, f"listing:\n  {{{listing}}}\n")
    assert ":2:" in error.message and f"listing.longer_windows{key}: {problem}" in error.message
    assert "from the shortest to the longest" in error.hint


@pytest.mark.parametrize(("listing", "problem"), [
    ("after_s: 0", "listing.after_s"), ("before_s: -1", "listing.before_s"), ("window_s: 20", "unknown key `listing.window_s`"),
    ("longer_windows: [{after_s: 60}]", "before_s"), ("longer_windows: [{before_s: 60, after_s: x}]", "listing.longer_windows"),
])
def test_a_window_that_cannot_be_is_refused_by_its_key(tmp_path: Path, listing: str, problem: str) -> None:
    assert problem in refusal(tmp_path, f"listing: {{{listing}}}").message


def test_windows_come_from_the_file_or_the_environment(tmp_path: Path) -> None:
    text = "listing: {before_s: 0, after_s: 8, longer_windows: [{before_s: 5, after_s: 9}]}"
    assert reaches_of(load_text(tmp_path, text).listing) == (Reach(0, 8), Reach(5, 9))
    assert reaches_of(load_text(tmp_path, "{}").listing) == (Reach(20, 20),)
    told = load_text(tmp_path, "{}", PUMPWATCH_LISTING__LONGER_WINDOWS="[{before_s: 300, after_s: 1800}]")
    assert reaches_of(told.listing)[1:] == (Reach(300, 1800),)


def test_an_address_with_a_user_is_taken(tmp_path: Path) -> None:
    url = "wss://user:p%2Fa%40ss@[::1]:8443/ws?x=1"
    found = load_text(tmp_path, f"exchanges: {{a: {{spot: {{ws_url: '{url}', rest_url: 'http://127.0.0.1:1'}}}}}}").exchanges["a"].spot
    assert found is not None and found.ws_url == url


PATH_KEYS = """
store: {dir: d}
listing: {archive_dir: ../a}
symbols_file: s.yaml
plugins: {folder: ~/p}
net: {ca_file: /etc/ca.pem}
sinks: {questdb: {ca_file: q.pem, addr: q}}
"""


def test_relative_paths_of_a_file_count_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "c.yaml").write_text(PATH_KEYS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    config = load(Path("etc/c.yaml"), {})
    etc = f"{tmp_path}/etc"
    assert (config.store.dir, config.listing.archive_dir, config.symbols_file) == (f"{etc}/d", f"{etc}/../a", f"{etc}/s.yaml")
    assert (config.plugins.folder, config.net.ca_file) == ("/home/me/p", "/etc/ca.pem")
    assert config.sinks == {"questdb": {"ca_file": f"{etc}/q.pem", "addr": "q"}}


def test_relative_paths_of_the_environment_count_from_the_working_directory(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "c.yaml").write_text(PATH_KEYS)
    monkeypatch.chdir(tmp_path)
    config = load(Path("etc/c.yaml"), {"PUMPWATCH_STORE__DIR": "here", "PUMPWATCH_SINKS": "{questdb: {ca_file: x.pem}}",
                                       "PUMPWATCH_SYMBOLS_FILE": '""'})
    assert (config.store.dir, config.symbols_file) == (f"{tmp_path}/here", "")
    assert config.sinks == {"questdb": {"ca_file": f"{tmp_path}/x.pem"}}
    assert config.listing.archive_dir == f"{tmp_path}/etc/../a"


def test_the_services_config_keeps_every_path_in_its_state_folder() -> None:
    files = SHIPPED.parent.parent / "pumpwatch" / "host" / "files"
    config = load(files / "pumpwatch.yaml", {})
    paths = [config.store.dir, config.listing.archive_dir, config.symbols_file]
    assert all(path.startswith("/var/lib/pumpwatch/") for path in paths)
    assert "StateDirectory=pumpwatch\n" in (files / "pumpwatch.service").read_text("utf-8")
    assert (files / "sample.yaml").read_text("utf-8") == SHIPPED.read_text("utf-8")


@pytest.mark.parametrize("text", ['store: {dir: ""}', 'listing: {archive_dir: ""}', 'store: {dir: "a\\0b"}'])
def test_a_folder_must_have_a_name(tmp_path: Path, text: str) -> None:
    assert "dir" in refusal(tmp_path, text).message


def test_two_configs_share_nothing() -> None:
    one, other = Config(), Config()
    one.exchanges["other"] = ExchangeConfig()
    one.plugins.disabled.append("x")
    assert other == Config()


@pytest.mark.parametrize(("text", "path", "nearest"), [
    ("store: {dirr: x}", "store.dirr", "dir"),
    ("stoer: {dir: x}", "stoer", "store"),
    ("exchanges: {binance: {spto: {}}}", "exchanges.binance.spto", "spot"),
    ("exchanges: {a: {}, b: {spot: {ws_ur: x}}}", "exchanges.b.spot.ws_ur", "ws_url"),
    ("listing: {sources: {x: {intervals: 3}}}", "listing.sources.x.intervals", "interval_s"),
])
def test_an_unknown_key_is_named_with_its_path_and_the_nearest_known_one(
        tmp_path: Path, text: str, path: str, nearest: str) -> None:
    error = refusal(tmp_path, text)
    assert str(tmp_path) in error.message
    assert f"unknown key `{path}`" in error.message
    assert f"did you mean `{nearest}`?" in error.hint
    assert "known here: " in error.hint


@pytest.mark.parametrize(("text", "says"), [
    ("store: {commit_trades: many}", "store.commit_trades: expected `int`, got `str`"),
    ("store: {commit_ms: 0}", "store.commit_ms: expected `float` > 0"),
    ("exchanges: {a: {spot: {symbols: [X, 3]}}}", "exchanges.a.spot.symbols.1: expected `str`, got `int`"),
    ("exchanges: {a: {}, b: {enabled: maybe}}", "exchanges.b.enabled: expected `bool`, got `str`"),
    ("store: 5", "store: expected `object`, got `int`"),
    ("exchanges: {a: {spot: 5}}", "exchanges.a.spot: expected `object`, got `int`"),
    ("1: 2", "expected `str`"),
])
def test_a_wrong_value_is_named_with_its_path_and_what_is_allowed(tmp_path: Path, text: str, says: str) -> None:
    assert says in refusal(tmp_path, text).message


@pytest.mark.parametrize(("text", "place"), [
    ("store:\n  dir: x\n  dirr: y", ":3:3: unknown key `store.dirr`"),
    ("log:\n  level: loud", ":2:3: log.level: "),
    ("exchanges:\n  okx: {spot: {symbols: [X, 3]}}", ":2:29: exchanges.okx.spot.symbols.1: "),
    ("exchanges: {okx: {spot: {ws_url: ftp://x}}}", ":1:26: exchanges.okx.spot.ws_url: "),
    ("net: {proxy: 'ftp://x'}", ":1:7: net.proxy"),
    ("store: {dir: a, dir: b}", ":1:17: not valid YAML: the key `dir` is given twice"),
    ("store:\n  dir: [", ":2:9: not valid YAML: "),
    ("- 1", ":1:1: the file must be a mapping")])
def test_an_error_names_file_line_and_column(tmp_path: Path, text: str, place: str) -> None:
    assert refusal(tmp_path, text).message.startswith(f"{tmp_path}/pumpwatch.yaml{place}")


def test_what_no_plugin_offers_is_named_with_its_line_and_column(tmp_path: Path) -> None:
    config = load_text(tmp_path, "exchanges:\n  okx:\n  binanse:\nsinks: {nowhere: }\n")
    with pytest.raises(ConfigError) as caught:
        load_plugins(Config()).fit(config)
    file = f"{tmp_path}/pumpwatch.yaml"
    assert f"{file}:3:3: exchanges.binanse: no plugin offers it" in caught.value.message
    assert f"{file}:4:9: sinks.nowhere: no plugin offers it" in caught.value.message


def test_an_unknown_option_of_a_sink_is_named_with_its_line_and_column(tmp_path: Path) -> None:
    config = load_text(tmp_path, "sinks:\n  questdb:\n    adr: x\n")
    with pytest.raises(ConfigError) as caught:
        load_plugins(Config()).make_sinks(config)
    assert caught.value.message == f"{tmp_path}/pumpwatch.yaml:3:5: unknown key `sinks.questdb.adr`"


def test_a_value_outside_its_choices_is_answered_with_the_choices(tmp_path: Path) -> None:
    error = refusal(tmp_path, "log: {level: loud}")
    assert "log.level" in error.message
    assert error.hint == "allowed: debug, info, warning, error"


@pytest.mark.parametrize(("text", "says"), [
    ("- 1\n- 2", "must be a mapping"),
    ("a: [", "not valid YAML"),
    ("store: {dir: a, dir: b}", "`dir` is given twice"),
    ("store: {dir: {{ data }}}", "a key must be a word"),
    ("? [a]\n: 1", "a key must be a word"),
    ("sinks: &a\n  questdb: *a", "an alias (*) contains itself"),
    ("sinks: {questdb: {addr: &a [*a]}}", "an alias (*) contains itself"),
    ("log: " + "[" * 1000, "the nesting is too deep"),
    ("store: {dir: 2026-13-45}", "not valid YAML"),
    ("\x00", "not valid YAML"),
])
def test_a_file_that_is_no_config_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    error = refusal(tmp_path, text)
    assert "pumpwatch.yaml" in error.message
    assert says in error.message


def test_a_file_that_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "pumpwatch.yaml").write_bytes(b"\xff\xfe\x00PK")
    with pytest.raises(ConfigError, match=r"pumpwatch\.yaml: not valid YAML"):
        load(tmp_path / "pumpwatch.yaml", {})


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.yaml: cannot read"):
        load(tmp_path / "nope.yaml", {})


def test_a_variable_without_a_value_keeps_the_default_and_quotes_are_the_empty_text(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_text(tmp_path, "{}", PUMPWATCH_NET__PROXY="", PUMPWATCH_SYMBOLS_FILE='""', PUMPWATCH_STORE__DIR=" ")
    assert (config.net.proxy, config.symbols_file, config.store.dir) == ("", "", f"{tmp_path}/data")


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    config = load_text(tmp_path, "store: {dir: a, commit_ms: 20}", PUMPWATCH_STORE__DIR="/data",
                       PUMPWATCH_SINKS__QUESTDB__ADDR="db:9000", PUMPWATCH_ROSTER_REFRESH_S="60",
                       PUMPWATCH_PLUGINS__DISABLED="[x, y]", PATH="/bin")
    assert (config.store.dir, config.store.commit_ms, config.roster_refresh_s) == ("/data", 20, 60)
    assert config.sinks == {"questdb": {"addr": "db:9000"}}
    assert config.plugins.disabled == ["x", "y"]


@pytest.mark.parametrize(("variable", "value", "says"), [
    ("PUMPWATCH_STORE__DIRR", "x", "unknown key `store.dirr`"),
    ("PUMPWATCH_STOER__DIR", "x", "unknown key `stoer`"),
    ("PUMPWATCH_STORE__COMMIT_MS", "soon", "store.commit_ms: expected `float`, got `str`"),
    ("PUMPWATCH_STORE__COMMIT_MS", "[", "not a valid value"),
    ("PUMPWATCH_STORE__DIR__X__Y", "1", "`dir` is not a section"),
    ("PUMPWATCH_EXCHANGES__A__ENABLED", "maybe", "exchanges.a.enabled: expected `bool`, got `str`"),
    ("PUMPWATCH_STORE__DIR", "{{x}}", "a key must be a word"),
])
def test_a_wrong_variable_is_named(tmp_path: Path, variable: str, value: str, says: str) -> None:
    error = refusal(tmp_path, "log: {level: info}", **{variable: value})
    assert f"environment {variable}" in error.message
    assert says in error.message


def test_a_plugins_own_options_are_checked_like_the_rest() -> None:
    class Options(msgspec.Struct, forbid_unknown_fields=True):
        addr: str = "here"

    config = Config(sinks={"thing": {"adr": "there"}})
    with pytest.raises(ConfigError) as caught:
        options_of(config, "sinks", "thing", Options)
    assert "unknown key `sinks.thing.adr`" in caught.value.message
    assert "did you mean `addr`?" in caught.value.hint
    assert options_of(Config(), "sinks", "thing", Options) == Options()
