"""The documents are true: links lead somewhere, named paths exist, made pages are up to date, the reference is complete."""

from __future__ import annotations

import importlib.util
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import click
import pytest
import yaml

from pumpwatch.cli import pumpwatch as root_command
from pumpwatch.config import Config
from pumpwatch.errors import EXIT_CONFIG, EXIT_DISK, EXIT_FOUND, EXIT_INTERRUPTED, EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE
from pumpwatch.hookspecs import HookSpecs
from pumpwatch.model import Columns, GapState
from pumpwatch.ops.completeness import VenueFacts
from pumpwatch.ops.status_file import _Figures, _Journal, _Row
from pumpwatch.plugins import load_plugins
from pumpwatch.store.ledger import FILE_NAME, Ledger
from pumpwatch.store.segment import _TABLES
from pumpwatch.store.trade_rows import TRADE_FIELDS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / "tests").rglob("*.md")])
GLOSSARY = (DOCS / "glossary.md").read_text("utf-8")
DATA = (DOCS / "data.md").read_text("utf-8")
# names that stand for others in a path: NAME.py, <name>.py, COIN_TIME/
PLACEHOLDER = re.compile(r"<[a-z_]+>|\b[A-Z]{2,}(?:_[A-Z]+)*\b")
CODE = re.compile(r"`([^`\n]+)`")
STAGES = sorted(path.name for path in (ROOT / "pumpwatch").iterdir() if path.is_dir() and path.name != "__pycache__")


def doc_pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("doc_pages", ROOT / "packaging" / "doc_pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKER = doc_pages()


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and mkdocs make them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(re.sub(r"\s+", "-", plain.strip()))
    return found


def links(page: Path) -> Iterator[str]:
    yield from re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_leads_to_a_file_and_to_a_heading_in_it(page: Path) -> None:
    for target in links(page):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        aim = (page.parent / file).resolve() if file else page
        assert aim.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(aim.read_text("utf-8")), f"{page.name}: {target}"


def named_paths(text: str) -> set[str]:
    """Return every path of ours that a text names in code or in a drawing: below the root, or below pumpwatch/."""
    tops = "pumpwatch|plugins|tests|packaging|config|docs|\\.ci"
    below = "|".join(STAGES)
    inside, alone = rf"(?:{tops}|{below})/[\w./<>-]*[\w>/]", r"\.?[\w-]+\.(?:py|cfg|toml|spec)\b"
    return set(re.findall(rf"(?<![\w/.:~-])({inside}|{alone})(?![\w/])", text))


def test_a_path_is_found_in_prose_and_in_a_drawing() -> None:
    text = "`net/sweep.py` and ──▶ store/nowhere.py ──▶ plugins/exchanges/NAME.py, setup.cfg; https://example.com/docs/x.py"
    assert named_paths(text) == {"net/sweep.py", "store/nowhere.py", "plugins/exchanges/NAME.py", "setup.cfg"}
    assert [exists(path) for path in sorted(named_paths(text))] == [True, True, True, False]


def exists(path: str) -> bool:
    pattern = PLACEHOLDER.sub("*", path).rstrip("/")
    if "/" not in pattern:  # a file's bare name
        return any(ROOT.glob(pattern)) or any(ROOT.glob(f"*/**/{pattern}"))
    return any(ROOT.glob(pattern)) or any((ROOT / "pumpwatch").glob(pattern))


# the changelog speaks of the past, the data reference of data folders, and the READMEs of tests of files to be made
PAGES_OF_THE_TREE = [page for page in PAGES if page.parent in (ROOT, DOCS) and page.name not in ("CHANGELOG.md", "data.md")]


@pytest.mark.parametrize("page", PAGES_OF_THE_TREE, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_path_that_is_named_exists(page: Path) -> None:
    text = page.read_text("utf-8") if page.name == "ARCHITECTURE.md" else "\n".join(CODE.findall(prose(page)))
    made_by_users = {"symbols.yaml", "config/symbols.yaml", "utils.py", "helpers.py", "common.py", "manager.py", "base.py",
                     "misc.py"}
    assert sorted(path for path in named_paths(text) - made_by_users if not exists(path)) == []


def test_the_architecture_names_every_stage() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    assert [stage for stage in STAGES if f"{stage}/" not in text and f" {stage} " not in text and f"`{stage}`" not in text
            and f"{stage}," not in text] == []


@pytest.mark.parametrize("path", sorted(MAKER.made_pages()), ids=lambda path: path.name)
def test_a_page_that_is_made_from_the_code_is_up_to_date(path: Path) -> None:
    made = MAKER.made_pages()[path]
    assert path.read_text("utf-8") == made, "run `packaging/docs pages`"


def test_every_config_key_has_a_meaning() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \|.*\| ([^|]*) \|$", MAKER.config_page(), re.MULTILINE)
    assert len(rows) > 40
    assert MAKER.MEANINGS.keys() <= {key for key, _ in rows}
    assert [key for key, meaning in rows if not meaning.strip()] == []


def test_every_command_has_its_part_and_an_example() -> None:
    parts = re.split(r"^##+ ", MAKER.commands_page(), flags=re.MULTILINE)
    by_name = {part.splitlines()[0]: part for part in parts}
    for name, command in MAKER.walk(root_command, "pumpwatch"):
        assert name in by_name
        assert isinstance(command, click.Group) or "Example" in by_name[name], name


def test_the_exit_codes_are_those_of_the_code() -> None:
    stated = {int(code) for code in re.findall(r"^\| (\d+) \|", (DOCS / "commands.md").read_text("utf-8"), re.MULTILINE)}
    assert stated == {EXIT_OK, EXIT_FOUND, EXIT_USAGE, EXIT_UNAVAILABLE, EXIT_DISK, EXIT_CONFIG, EXIT_INTERRUPTED}


def test_the_site_holds_every_page_with_links_that_hold_there(tmp_path: Path) -> None:
    MAKER.main([str(tmp_path)])
    navigation = yaml.safe_load((ROOT / "packaging" / "mkdocs.yml").read_text("utf-8"))["nav"]
    listed = [page for part in navigation for value in part.values()
              for page in ([value] if isinstance(value, str) else [name for entry in value for name in entry.values()])]
    pages = sorted(tmp_path.glob("*.md"))
    assert set(listed) == {path.name for path in pages}
    for path in pages:
        for target in links(path):
            file, _, anchor = target.partition("#")
            if not target.startswith(("http", "mailto")):
                aim = tmp_path / file if file else path
                assert aim.exists(), f"{path.name}: {target}"
                assert not anchor or anchor in anchors(aim.read_text("utf-8")), f"{path.name}: {target}"


def section(title: str) -> str:
    """Return a part of the data reference."""
    return re.split(r"^##+ ", DATA.partition(f" {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text: str) -> list[str]:
    """Return every name that the first cell of a table's row has."""
    return [name for cell in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE) for name in CODE.findall(cell)]


def test_the_data_reference_has_every_field_of_a_trade() -> None:
    assert tuple(first_cells(section("A trade"))) == TRADE_FIELDS


def questdb_tables() -> dict[str, list[tuple[str, str]]]:
    """Return the columns of the QuestDB sink's tables, from the statements that make them."""
    package = ROOT / "plugins" / "sinks"
    source = next(path for path in sorted(package.rglob("*.py")) if "TRADE_COLUMNS" in path.read_text("utf-8"))
    name = ".".join(("pumpwatch_plugins", *source.relative_to(ROOT / "plugins").with_suffix("").parts))
    tables = importlib.import_module(name).tables("", 30)
    return {table.name: list(table.columns) for table in tables}


def test_the_data_reference_has_every_table_and_column_of_questdb() -> None:
    assert "questdb" in load_plugins(Config()).sinks
    for name, columns in questdb_tables().items():
        stated = re.findall(r"^\| `(\w+)` \| ([A-Z_]+) \|", section(f"`{name}`"), re.MULTILINE)
        assert stated == columns, name


def test_the_data_reference_has_every_table_and_column_of_the_ledger(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        names = [name for name, in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
                 if not name.startswith(("sqlite_", "_"))]
        columns = {name: {row[1] for row in connection.execute(f"PRAGMA table_info({name})")} for name in names}
    columns = {name: {column for column in found if column != "id" or name == "identity"} for name, found in columns.items()}
    text = section("The ledger")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE))
    assert set(rows) == set(columns)
    for name, wanted in columns.items():
        assert wanted <= set(CODE.findall(rows[name])), name


def test_the_data_reference_has_every_table_of_a_segment() -> None:
    assert set(first_cells(section("The journal"))) == set(re.findall(r"CREATE TABLE (\w+)", _TABLES))


def test_the_data_reference_has_the_keys_that_readers_of_the_figures_rely_on() -> None:
    text = section("`status.json`")
    named = set(CODE.findall(text))
    for struct in (_Figures, _Row, _Journal):
        assert set(struct.__struct_fields__) <= named, struct


def test_every_word_of_the_plugin_contract_and_every_state_of_a_gap_is_in_the_glossary() -> None:
    terms = {term.strip() for cell in re.findall(r"^\| ([^|]+) \|", GLOSSARY, re.MULTILINE) for term in cell.split(",")}
    assert {"void", "past", "variant", "stamp", "takeover", "session"} <= terms
    assert {str(state) for state in GapState} <= terms
    assert {"void", "past"} <= set(Columns.__slots__)
    for word in ("journal", "segment", "ledger", "drain", "sink", "feed", "venue", "instrument", "quarantine", "backlog",
                 "dedupe", "gap", "placement", "staleness", "exchange", "market type", "symbol", "trade", "side", "quantity",
                 "timestamp", "received at", "frame", "backfill", "acknowledge", "notice", "listing", "window", "archive"):
        assert word in terms, word


def test_no_term_is_defined_twice() -> None:
    terms = [term.strip() for cell in re.findall(r"^\| ([^|]+) \|", GLOSSARY, re.MULTILINE)
             if cell not in ("term", "---") for term in cell.split(",")]
    assert sorted({term for term in terms if terms.count(term) > 1}) == []


def test_the_plugin_guide_has_every_hook() -> None:
    hooks = {name for name in vars(HookSpecs) if not name.startswith("_")}
    assert hooks <= set(CODE.findall((DOCS / "plugins.md").read_text("utf-8")))


def test_the_guarantees_have_the_proof_of_every_venue() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+\.\w+)` \| `(\w+)` \|", text, re.MULTILINE))
    assert rows == {venue.name: VenueFacts(venue.id_kind, venue.history.skips_ids).proof
                    for venue in load_plugins(Config()).venues if not venue.variant}


def test_the_pre_commit_hooks_are_local_and_run() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    hooks = {hook["id"]: hook for hook in config["repos"][0]["hooks"]}
    assert {hook["language"] for hook in hooks.values()} == {"system"}
    for hook in hooks.values():
        re.compile(hook.get("files", ""))
        assert hook["entry"].startswith(".venv/bin/")
    name, *options = hooks["ruff"]["entry"].removeprefix(".venv/bin/").split()
    program = Path(sys.executable).parent / name
    done = subprocess.run([program, *options, "tests/test_docs.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    chosen = re.compile(hooks["mypy"]["files"])
    assert chosen.search("pumpwatch/store/codec.py") and not chosen.search("tests/test_docs.py")


CHANGES = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


def test_the_changelog_keeps_its_form() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text("utf-8").splitlines()
    versions = [line for line in lines if line.startswith("## ")]
    assert versions[0] == "## [Unreleased]"
    assert all(re.fullmatch(r"## \[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", line) for line in versions[1:])
    assert {line.removeprefix("### ") for line in lines if line.startswith("### ")} <= set(CHANGES)
