"""The tree keeps its shape: who may import whom, in no circle; how large things may be; one file an exchange; a test a module."""

from __future__ import annotations

import ast
import configparser
import functools
import io
import re
import statistics
import sys
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.source_tree import CORE, PLUGINS, ROOT, TESTS, nodes, parsed

LARGEST_MODULE, LONGEST_FUNCTION = 400, 60  # lines

BASE = {"descriptors", "errors", "findings", "printable", "model", "order_book", "venue", "records", "slicing", "downtime",
        "moments", "clock", "stats", "config", "config_alerts", "config_api", "config_backup", "config_cluster", "config_disk",
        "config_errors", "config_listing", "config_log", "config_market", "config_paper", "config_redis", "config_rollout",
        "config_section", "yaml_loader", "catalogue", "hook_marker", "hookspecs", "sink_abilities", "strategy", "net", "ticker"}

# Upstream first. A stage imports the base, itself, and the stages whose results it reads.
READS = {
    "net": set(),
    "host": set(),
    "instruments": set(),
    "feeds": {"instruments"},
    "pipeline": {"feeds"},
    "store": {"pipeline"},
    "redis": {"store"},
    "cluster": {"redis", "store", "listing"},
    "backfill": {"instruments", "pipeline", "store"},
    "listing": {"store"},
    "notify": {"store", "listing"},
    "backup": {"store", "listing", "notify", "redis", "cluster"},
    "ops": {"instruments", "feeds", "pipeline", "store", "backfill", "listing", "notify", "redis", "cluster"},
    "api": {"instruments", "feeds", "pipeline", "store", "backfill", "listing", "notify", "ops", "market", "paper", "redis"},
    "market": {"instruments", "feeds", "store", "backfill", "ops", "redis"},
    "rollout": {"store", "listing", "notify"},
    "sim": set(),
    "playback": {"listing", "sim"},
    "accounts": set(),
    "paper": {"accounts", "store", "listing"},
    "plugin_folder": set(),
    "plugins": {"plugin_folder"},
}
# These join the stages: the app, its commands, what starts them, and the contract that plugins are held to.
JOINERS = {"app", "cli", "commands", "demo", "plugin_kit", "__main__"}

SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", "utf-8")


def stage_of(path: Path) -> str:
    return path.relative_to(ROOT / "pumpwatch").parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, module) of each import outside `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.expr):
            continue  # an import is a statement, and no expression holds one
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            yield node.lineno, module
            if module in ("pumpwatch", "pumpwatch.backup", "pumpwatch.commands", "pumpwatch.ops", "pumpwatch.store"):
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        yield from imports(node)


@functools.cache
def imports_of(path: Path) -> list[tuple[int, str]]:
    return list(imports(parsed(path)))


def ours(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, stage) of each import of our own package."""
    for line, module in imports_of(path):
        head, _, rest = module.partition(".")
        if head in ("pumpwatch_plugins", "plugins"):
            yield line, "pumpwatch_plugins"
        elif head == "pumpwatch" and rest:
            yield line, rest.split(".")[0]


def lines_of(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def test_a_stage_imports_the_base_and_what_is_upstream_of_it() -> None:
    modules = {child.stem for child in (ROOT / "pumpwatch").iterdir() if child.suffix == ".py"}
    wrong = []
    for path in CORE:
        stage = stage_of(path)
        if stage in JOINERS:
            continue
        allowed = BASE | {stage, "__version__"} | READS.get(stage, set())
        if stage in READS:
            allowed |= {"plugins", "supervisor"}  # they serve every stage and know none
        known = modules | READS.keys() | JOINERS
        wrong += [f"{path}:{line} imports {target}" for line, target in ours(path) if target not in allowed and target in known]
    assert wrong == []


def test_the_core_imports_no_plugin() -> None:
    assert [f"{path}:{line}" for path in CORE for line, target in ours(path) if target == "pumpwatch_plugins"] == []


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_plugin_imports_nothing_of_ours_but_what_is_public(path: Path) -> None:
    import pumpwatch

    package = ".".join(("pumpwatch_plugins", *path.parent.relative_to(ROOT / "plugins").parts))
    is_package = path.parent.parent != ROOT / "plugins"
    for line, module in imports_of(path):
        head, _, rest = module.partition(".")
        if head == "pumpwatch":
            assert not rest or rest in pumpwatch.__all__, f"{path}:{line} imports {module}"
        if head in ("pumpwatch_plugins", "plugins"):  # a plugin that is a package may import its own modules
            assert is_package and f"{module}.".startswith(f"{package}."), f"{path}:{line} imports {module}"


def test_no_two_stages_read_each_other() -> None:
    for stage, upstream in READS.items():
        for other in upstream:
            assert stage not in READS[other]


# One module a plugin: no second file beside it.
ONE_FILE = ("exchanges", "simulators", "sources")


@pytest.mark.parametrize("kind", ONE_FILE)
def test_an_exchange_is_one_file(kind: str) -> None:
    folder = ROOT / "plugins" / kind
    assert [path.name for path in folder.iterdir() if path.is_dir() and path.name != "__pycache__"] == []
    for path in folder.glob("*.py"):
        if path.name != "__init__.py":
            assert "@hookimpl" in path.read_text("utf-8"), f"{path} is not a plugin: it belongs into the one that uses it"
            assert "_" not in path.stem, path


def exchange_names() -> set[str]:
    return {path.stem for path in PLUGINS if path.parent.name in ONE_FILE}


def test_the_core_names_no_exchange() -> None:
    """Docstrings and comments may, as examples; the default config does, as data."""
    named = re.compile(rf"(?<![a-z])(?:{'|'.join(sorted(exchange_names()))})(?![a-z])")
    found = [f"{path}:{line} names {name[0]}" for path in CORE if path.name != "config_listing.py"
             for line, text in words_of(path) if (name := named.search(text.lower()))]
    assert found == []


def words_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of every string that is not a docstring, and of every name."""
    docstrings = {id(node.body[0].value) for node in nodes(path)
                  if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and node.body
                  and isinstance(node.body[0], ast.Expr)}
    for node in nodes(path):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr


def test_modules_are_small() -> None:
    sizes = {path: lines_of(path) for path in [*CORE, *PLUGINS, *TESTS]}
    assert {str(path): size for path, size in sizes.items() if size > LARGEST_MODULE} == {}
    assert statistics.median(sizes[path] for path in CORE if path.name != "__init__.py") <= LARGEST_MODULE / 2


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function, methods and inner ones too; no expression holds one."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.expr):
            continue
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node
        yield from functions(node)


def test_functions_are_small() -> None:
    long = [f"{path}:{node.lineno} {node.name}" for path in [*CORE, *PLUGINS, *TESTS] for node in functions(parsed(path))
            if (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION]
    assert long == []


def module_of(path: Path) -> str:
    """Return the dotted name a file of ours is imported by."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return re.sub(r"^plugins\b", "pumpwatch_plugins", name)


def imported_modules(path: Path, known: frozenset[str], homes: Mapping[str, str]) -> set[str]:
    """Return the modules of ours that a file imports anywhere: for annotations only and inside functions as well.

    A name imported from `pumpwatch` is imported from its home: the package itself loads nothing by itself.
    """
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "pumpwatch":
            found |= {homes.get(alias.name, f"pumpwatch.{alias.name}") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & known) or {node.module}
    return found & known


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that reach each other."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for following in graph[waiting.pop()] - seen:
                seen.add(following)
                waiting.append(following)
        reached[start] = seen
    groups = {frozenset(name for name in reached[start] if start in reached[name]) for start in graph if start in reached[start]}
    return sorted(map(sorted, groups))


def test_a_circle_is_found_where_there_is_one() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert circles({"a": {"a"}}) == [["a"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for annotations count: a circle of them is a concept without a home."""
    import pumpwatch

    files = {module_of(path): path for path in [*CORE, *PLUGINS] if path != ROOT / "pumpwatch" / "__init__.py"}
    known, homes = frozenset(files), pumpwatch._HOME_OF
    assert circles({name: imported_modules(path, known, homes) for name, path in files.items()}) == []


def own_test_of(path: Path) -> Path:
    """tests/ mirrors the trees: pumpwatch/store/codec.py -> tests/store/test_codec.py, and so for plugins/."""
    inside = path.relative_to(ROOT).parent.parts[1:]
    return ROOT.joinpath("tests", *inside, f"test_{path.stem}.py")


def holds_a_test(path: Path) -> bool:
    return path.is_file() and any(isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
                                  for node in nodes(path))


def test_every_module_is_tested_by_name() -> None:
    """`__init__` and `__main__` join others and are tested through them."""
    wanted = {own_test_of(path): path for path in [*CORE, *PLUGINS] if path.name not in ("__init__.py", "__main__.py")}
    assert sorted(str(test.relative_to(ROOT)) for test in wanted if not holds_a_test(test)) == []


def test_the_files_that_are_run_together_exist() -> None:
    from tests.schedule import TOGETHER

    assert [name for files in TOGETHER for name in files if not (ROOT / name).is_file()] == []


def test_no_test_imports_another_one() -> None:
    """Shared fakes live in plain modules; a test that is imported is collected twice, or hides what others rely on."""
    for path in TESTS:
        for line, module in imports_of(path):
            assert ".test_" not in module, f"{path}:{line} imports {module}"


def test_no_test_replaces_parts_of_a_module() -> None:
    for path in TESTS:
        for line, module in imports_of(path):
            assert module != "unittest.mock", f"{path}:{line}: use a small fake with a script and a history"


def test_only_main_patches_and_before_anything_else() -> None:
    for path in [*CORE, *PLUGINS]:
        patches = any(isinstance(node, ast.Attribute) and node.attr == "patch_all" for node in nodes(path))
        assert patches == (path.name == "__main__.py" and path.parent.name == "pumpwatch"), path
    body = parsed(ROOT / "pumpwatch" / "__main__.py").body
    assert [ast.unparse(node) for node in body[1:3]] == ["from gevent import monkey", "monkey.patch_all()"]


# Around other people's code, and around one venue of many: the comment at each place says why.
CATCH_ALL = {ROOT / "pumpwatch" / name for name in (
    "supervisor.py", "plugins.py", "plugin_kit/sandbox.py", "listing/validation.py", "pipeline/ingest.py", "pipeline/parse.py",
    "pipeline/venue_reader.py", "paper/child.py")}


def test_everything_is_caught_in_the_supervisor_and_around_other_peoples_code_alone() -> None:
    for path in [*CORE, *PLUGINS]:
        if path in CATCH_ALL:
            continue
        for node in nodes(path):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "BaseException"
                reraises = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
                assert caught not in ("Exception", "BaseException") or reraises, f"{path}:{node.lineno}"


def test_the_pipeline_says_why_it_catches_everything() -> None:
    for path in sorted((ROOT / "pumpwatch" / "pipeline").glob("*.py")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            assert "except Exception" not in line or "  # " in line, f"{path}:{number}"


LEFT_TO_DO = {"TODO", "FIXME", "XXX"}


def test_nothing_is_left_to_do() -> None:
    for path in [*CORE, *PLUGINS]:
        text = path.read_text("utf-8")
        if not any(word in text for word in LEFT_TO_DO):
            continue  # tokens take a hundred times as long
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                words = set(token.string.replace(":", " ").split())
                assert not LEFT_TO_DO & words, f"{path}:{token.start[0]}"


def test_the_package_list_is_the_folders() -> None:
    listed = set(SETUP["options"]["packages"].split())
    core = {".".join(path.parent.relative_to(ROOT).parts) for path in CORE if path.name == "__init__.py"}
    plugins = {".".join(("pumpwatch_plugins", *path.parent.relative_to(ROOT / "plugins").parts))
               for path in (ROOT / "plugins").rglob("__init__.py")}
    assert listed == core | plugins


def test_every_plugin_that_ships_has_an_entry_point() -> None:
    points = dict(line.split(" = ") for line in SETUP["options.entry_points"]["pumpwatch.plugins"].strip().splitlines())
    hooked = {module_of(path) for path in [*PLUGINS, *(ROOT / "plugins").rglob("__init__.py")]
              if "@hookimpl" in path.read_text("utf-8")}
    assert set(points.values()) == hooked


DISTRIBUTION_OF = {"websocket": "websocket-client", "sqlite_utils": "sqlite-utils", "yaml": "PyYAML",
                   "prometheus_client": "prometheus-client"}


def test_what_is_installed_is_what_is_imported() -> None:
    """Tests and the extras `parquet`, `postgres`, `redis` and `s3` have their own lists."""
    declared = {re.split(r"[><=]", line)[0] for line in SETUP["options"]["install_requires"].split("\n") if line}
    extra = {re.split(r"[\[><=]", line)[0] for name in ("parquet", "postgres", "redis", "s3")
             for line in SETUP["options.extras_require"][name].split("\n") if line}
    imported = {module.split(".")[0] for path in [*CORE, *PLUGINS] for _, module in imports_of(path)}
    ours_or_pythons = sys.stdlib_module_names | {"pumpwatch", "pumpwatch_plugins"}
    assert {DISTRIBUTION_OF.get(name, name) for name in imported - ours_or_pythons} - extra == declared


def test_every_dependency_has_a_range_and_a_reason() -> None:
    lines = (ROOT / "setup.cfg").read_text("utf-8").splitlines()
    wanted = lines[lines.index("install_requires ="):lines.index("[options.package_data]")]
    reason = ""
    for line in filter(str.strip, wanted):
        text = line.strip()
        if text.startswith("#"):
            reason = text
        elif not line.startswith(" "):
            reason = ""
        else:
            assert ">=" in text, line
            assert reason, f"{line} has no reason"
            if not text.startswith(("types-", "pandas")):  # these share one with what follows
                reason = ""
