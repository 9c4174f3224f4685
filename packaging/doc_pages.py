"""Pages of the documentation that are made from the code, and the folder that the site is built from.

    python packaging/doc_pages.py            write docs/config.md, docs/commands.md, docs/metrics.md, docs/openapi.json,
                                             and the rules of Prometheus
    python packaging/doc_pages.py FOLDER     put every page of the site into FOLDER, for mkdocs

tests/test_docs.py compares the written pages with what this makes.
"""

from __future__ import annotations

import inspect
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
import msgspec

from pumpwatch.api.openapi import openapi_json
from pumpwatch.api.routes import ROUTES
from pumpwatch.cli import pumpwatch as root_command
from pumpwatch.config import PATHS, Config, Keys
from pumpwatch.ops.metrics import PARTS
from pumpwatch.ops.prometheus_rules import rules_file
from pumpwatch.plugins import load_plugins

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
EXAMPLE = ROOT / "config" / "pumpwatch.yaml"
# pages of the site that live at the top of the repository, where people look for them
TOP_PAGES = {"ARCHITECTURE.md": "architecture.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md",
             "SECURITY.md": "security.md"}
MADE = "<!-- Made by packaging/doc_pages.py. Change the code, then run `packaging/docs pages`. -->"

# What an entry of a mapping is called in the path of a key, by the mapping's own path; YAML names examples there.
ENTRIES = {"exchanges": "NAME", "listing.sources": "NAME", "notify": "NAME"}
MARKETS = ("spot", "futures")  # described once, as MARKET

# meanings of keys that the example config leaves without a comment
MEANINGS = {
    "exchanges.NAME.enabled": "false: not collected, though named",
    "exchanges.NAME.MARKET.enabled": "false: this market is not collected",
    "exchanges.NAME.MARKET.rest_url": "the same for REST",
    "sinks.questdb.addr": "HOST:PORT of its HTTP interface",
    "sinks.questdb.user": "for HTTP basic authentication; empty: none",
    "sinks.questdb.password": "better from the environment: `PUMPWATCH_SINKS__QUESTDB__PASSWORD`",
    "sinks.questdb.tls": "true: https",
    "sinks.questdb.ca_file": "one more certificate authority, as PEM",
    "sinks.questdb.candles": "make `candles_1m` and `candles_5m`, views that the server keeps up to date",
    "sinks.questdb.request_timeout_ms": "of one request; a server that does not answer in time is down",
    "sinks.postgres.password": "beside the dsn; better from the environment: `PUMPWATCH_SINKS__POSTGRES__PASSWORD`",
    "sinks.postgres.statement_timeout_ms": "of one statement, by the server's own clock",
    "listing.sources.NAME.enabled": "false: not asked",
}
# these introduce the commented-out lines of the example
WITHOUT_A_KEY = (" QuestDB with all its defaults:", " A channel, by any name, is told of each listing and of its archive:")

CONFIG_HEAD = f"""{MADE}

# Config reference

Every key, its type and its default. All keys are optional, and so is the file: without one, every exchange that a plugin
offers is collected into `./data`. `config/pumpwatch.yaml` shows the same keys as a file to copy from.

- A key without a value keeps its default. An unknown key is an error that names the nearest known one, with exit code 78.
- `PUMPWATCH_` and the path of the key, with `__` between the steps, sets a key from the environment:
  `PUMPWATCH_STORE__DIR=/data` sets `store.dir`. The environment wins.
- A relative path in the file counts from the file's folder. One from the environment, and a default, counts from the working
  directory.
- `NAME` stands for the name of an exchange, a listing source, a sink or a channel; `MARKET` for `spot` or `futures`.

`pumpwatch check -c FILE` reports what is wrong with a file, and which venues it collects.
"""
COMMANDS_HEAD = f"""{MADE}

# Commands

`pumpwatch COMMAND` once installed, `packaging/run COMMAND` from a clone. `-h` or `--help` after any command shows what is
here.

Results go to stdout, words about them to stderr. With `--json` a command prints one JSON object a line, and its keys are
stable.

| exit code | meaning |
| --- | --- |
| 0 | fine |
| 1 | the command ran and found what it was asked to look for: gaps, failed checks, frames it cannot read |
| 2 | wrong usage |
| 69 | a service that it needs does not answer |
| 74 | the disk does not take or give what it should |
| 78 | the config is invalid |
| 130 | interrupted |
"""


def cell(text: str) -> str:
    """Return text that may stand in a table."""
    return " ".join(text.replace("|", "\\|").split())


# the config

def comments() -> dict[str, str]:
    """Return the comment beside each key of the example config, by the key's path with NAME and MARKET in it."""
    found: dict[str, str] = {}
    steps: list[tuple[int, str]] = []
    last = ""
    for line in EXAMPLE.read_text("utf-8").splitlines():
        line = re.sub(r"^#(?=  )", " ", line)  # an example that is commented out
        key = re.match(r"( *)([a-z0-9_]+):[^#]*(?:# (.*))?$", line)
        if key:
            indent = len(key[1])
            steps = [step for step in steps if step[0] < indent] + [(indent, key[2])]
            last = plain_path([name for _, name in steps])
            found[last] = found.get(last) or (key[3] or "")
        elif (more := re.match(r" {20,}# (.*)$", line)) and last:
            found[last] += f" {more[1]}"
        else:
            last = ""
    return found


def plain_path(steps: list[str]) -> str:
    """Return a key's path with NAME and MARKET where the file has names of its own."""
    path: list[str] = []
    for step in steps:
        above = ".".join(path)
        path.append(ENTRIES.get(above, "MARKET" if above == "exchanges.NAME" and step in MARKETS else step))
    return ".".join(path)


def keys_of(struct: type[Any], above: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, type, default) of every key, sections in the order of the code."""
    for field in msgspec.structs.fields(struct):
        path = f"{above}{field.encode_name}"
        kind, default = without_none(field.type), field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        if above == "exchanges.NAME." and field.encode_name in MARKETS:
            if field.encode_name == MARKETS[0]:
                yield from keys_of(kind, "exchanges.NAME.MARKET.")
        elif is_struct(kind):
            yield from keys_of(kind, f"{path}.")
        elif get_origin(kind) is dict and is_struct(get_args(kind)[1]):
            yield path, kind, default
            yield from keys_of(get_args(kind)[1], f"{path}.NAME.")
        else:
            yield path, kind, default


def is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def without_none(kind: Any) -> Any:
    if isinstance(kind, UnionType):
        return next(inner for inner in get_args(kind) if inner is not type(None))
    return kind


def type_text(path: str, kind: Any) -> str:
    """Return a type in words: `number > 0`, `list of text`, `debug, info, warning or error`."""
    if get_origin(kind) is Annotated:
        inner, meta = get_args(kind)[:2]
        bound = f" > {meta.gt}" if meta.gt is not None else f" >= {meta.ge}" if meta.ge is not None else ""
        return type_text(path, inner) + bound
    if get_origin(kind) is Literal:
        *most, last = map(str, get_args(kind))
        return f"{', '.join(most)} or {last}"
    if get_origin(kind) is Union:
        return "; ".join(type_text(path, part) for part in get_args(kind))
    if is_struct(kind):
        return "section with " + ", ".join(f"`{field.encode_name}`: {type_text(path, field.type)}"
                                           for field in msgspec.structs.fields(kind))
    if get_origin(kind) is list:
        return f"list of {type_text('', get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return "section, an entry a name"
    if kind is str and PATHS.fullmatch(path.rpartition(".")[2]):
        return "path"
    return {bool: "true or false", int: "integer", float: "number", str: "text"}[kind]


def default_text(default: Any) -> str:
    if isinstance(default, dict):
        return ", ".join(f"`{name}`" for name in default) or "none"
    if default is msgspec.NODEFAULT:
        return "required"
    return f"`{msgspec.json.encode(default).decode()}`"


def config_page() -> str:
    """Return docs/config.md."""
    said = comments()
    parts = [CONFIG_HEAD]
    sinks = {name: plugin.options for name, plugin in sorted(load_plugins(Config()).sinks.items())}
    rows = list(keys_of(Keys))
    for name, options in sinks.items():
        at = next(number for number, row in enumerate(rows) if row[0] == "sinks")
        rows[at + 1:at + 1] = keys_of(options, f"sinks.{name}.")
    section = None
    for path, kind, default in rows:
        of = path.partition(".")[0] if "." in path or get_origin(kind) is dict else ""
        if of != section:
            section = of
            title = f"`{of}`" if of else "Top level"
            note = said.get(of, "") if of != path else ""
            parts.append(f"\n## {title}\n\n" + (f"{note[:1].upper()}{note[1:]}.\n\n" if note else "")
                         + "| key | type | default | meaning |\n| --- | --- | --- | --- |\n")
        meaning = (said.get(path) or MEANINGS.get(path, "")).removeprefix(f"{default}; ")
        for words in WITHOUT_A_KEY:
            meaning = meaning.removesuffix(words)
        parts.append(f"| `{path}` | {cell(type_text(path, kind))} | {default_text(default)} | {cell(meaning)} |\n")
    return "".join(parts)


# the commands

def walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its whole name, groups before their own."""
    yield name, command
    if isinstance(command, click.Group):
        for inner in sorted(command.commands):
            yield from walk(command.commands[inner], f"{name} {inner}")


def paragraphs(text: str) -> Iterator[str]:
    """Yield a help text as Markdown: what click leaves as it is becomes code, and so do examples."""
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text).partition("\f")[0]):
        kept = paragraph.startswith("\b")
        lines = [line.rstrip() for line in paragraph.removeprefix("\b").strip("\n").splitlines()]
        if lines and lines[0].startswith("Example: "):
            yield "Example:"
            examples = [line.removeprefix("Example: ").strip() for line in lines]
            yield "```text\n" + ("\n" if kept else " ").join(examples) + "\n```"
        elif kept:
            yield "```text\n" + "\n".join(lines) + "\n```"
        elif lines:
            yield re.sub(r"<([A-Za-z]+)>", r"`<\1>`", " ".join(line.strip() for line in lines))


def commands_page() -> str:
    """Return docs/commands.md."""
    parts = [COMMANDS_HEAD]
    for name, command in walk(root_command, "pumpwatch"):
        context = click.Context(command, info_name=name, max_content_width=200)
        usage = " ".join([name, *command.collect_usage_pieces(context)])
        parts.append(f"\n{'##' if name.count(' ') < 2 else '###'} {name}\n")
        first, *rest = [f"\n{paragraph}\n" for paragraph in paragraphs(command.help or "")] or [""]
        parts += [first, f"\n```text\n{usage}\n```\n", *rest]
        records = [record for parameter in command.get_params(context) if (record := parameter.get_help_record(context))]
        records = [(option, meaning) for option, meaning in records if meaning and "--help" not in option]
        if records:
            parts.append("\n| option | meaning |\n| --- | --- |\n")
            parts += [f"| `{cell(option)}` | {cell(meaning)} |\n" for option, meaning in records]
    return "".join(parts)


# the metrics

METRICS_HEAD = f"""{MADE}

# Metrics

`http://127.0.0.1:8321/metrics` (`api.listen`) has them in Prometheus's text format. A scrape reads figures that the collector
has anyway, and takes some milliseconds. This part of a `prometheus.yml` reads them, and the alerts of
`packaging/prometheus/alerts.yml`, which need Prometheus 2.42 or newer:

```yaml
scrape_configs:
  - job_name: pumpwatch
    scrape_interval: 15s
    static_configs:
      - targets: ["127.0.0.1:8321"]
rule_files:
  - alerts.yml
```

`packaging/grafana/pumpwatch.json` is a board for Grafana: Dashboards, New, Import.

Every name begins with `pumpwatch_` and ends in its unit. A counter ends in `_total` and counts since the start of the collector.
Labels are venues, sinks, listing sources, channels, jobs and states, never symbols. The collector tells the same alerts by
itself, see [Messages](notify.md#alerts); the [runbook](runbook.md) says what to do.
"""


def metrics_page() -> str:
    """Return docs/metrics.md."""
    parts = [METRICS_HEAD]
    for title, metrics in PARTS.items():
        parts.append(f"\n## {title}\n\n| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n")
        parts += [f"| `{metric.full_name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels)} |"
                  f" {cell(metric.meaning)} |\n" for metric in metrics]
    return "".join(parts)


# the site

def made_pages() -> dict[Path, str]:
    """Return every page that is made from the code, by its file."""
    return {DOCS / "config.md": config_page(), DOCS / "commands.md": commands_page(), DOCS / "metrics.md": metrics_page(),
            DOCS / "openapi.json": openapi_json(ROUTES).decode(),
            ROOT / "packaging" / "prometheus" / "alerts.yml": rules_file()}


def site_pages() -> dict[str, str]:
    """Return every page of the site by its name in it, with links that hold there."""
    texts = {path.name: path.read_text("utf-8") for path in sorted(DOCS.glob("*.md"))}
    texts |= {inside: (ROOT / name).read_text("utf-8") for name, inside in TOP_PAGES.items()}
    return {name: re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", lambda link: moved(link, texts), text) for name, text in texts.items()}


def moved(link: re.Match[str], pages: dict[str, str]) -> str:
    """Return a link as the site needs it; one to a file that is not a page becomes its text."""
    text, target = link[1], link[2]
    if target.startswith(("http:", "https:", "#", "mailto:")):
        return link[0]
    file, hash_, anchor = target.partition("#")
    name = Path(file).name
    name = TOP_PAGES.get(name, name)
    return f"[{text}]({name}{hash_}{anchor})" if name in pages else text


def main(words: list[str]) -> None:
    if words:
        folder = Path(words[0])
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in site_pages().items():
            (folder / name).write_text(text, "utf-8")
        shutil.copy(ROOT / "packaging" / "site.css", folder)
        return
    for path, text in made_pages().items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
