"""The tree keeps its shape: who may import whom, how large things may be, and that the package list is the folders."""

from __future__ import annotations

import ast
import configparser
import functools
import io
import re
import statistics
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = sorted((ROOT / "pumpwatch").rglob("*.py"))
PLUGINS = sorted(path for path in (ROOT / "plugins").rglob("*.py") if path.name != "__init__.py")

BASE = {"errors", "printable", "model", "records", "clock", "stats", "config", "yaml_loader", "catalogue", "hookspecs", "net"}

# Upstream first. A stage imports the base, itself, and the stages whose results it reads.
READS = {
    "net": set(),
    "instruments": set(),
    "feeds": {"instruments"},
    "pipeline": {"feeds"},
    "store": {"pipeline"},
    "listing": {"store"},
    "ops": {"instruments", "feeds", "pipeline", "store", "listing"},
    "sim": set(),
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
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            yield node.lineno, module
            if module in ("pumpwatch", "pumpwatch.commands", "pumpwatch.ops", "pumpwatch.store"):
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        yield from imports(node)


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def ours(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, stage) of each import of our own package."""
    for line, module in imports(parsed(path)):
        head, _, rest = module.partition(".")
        if head in ("pumpwatch_plugins", "plugins"):
            yield line, "pumpwatch_plugins"
        elif head == "pumpwatch" and rest:
            yield line, rest.split(".")[0]


def lines_of(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_stage_imports_the_base_and_what_is_upstream_of_it(path: Path) -> None:
    stage = stage_of(path)
    if stage in JOINERS:
        return
    modules = {child.stem for child in (ROOT / "pumpwatch").iterdir() if child.suffix == ".py"}
    allowed = BASE | {stage, "__version__"} | READS.get(stage, set())
    if stage in READS:
        allowed |= {"plugins", "supervisor"}  # they serve every stage and know none
    for line, target in ours(path):
        known = target in modules or target in READS or target in JOINERS
        assert target in allowed or not known, f"{path}:{line} imports {target}"


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_imports_no_plugin(path: Path) -> None:
    for line, target in ours(path):
        assert target != "pumpwatch_plugins", f"{path}:{line}"


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_plugin_imports_nothing_of_ours_but_what_is_public(path: Path) -> None:
    import pumpwatch

    package = ".".join(("pumpwatch_plugins", *path.relative_to(ROOT / "plugins").parent.parts))
    for line, module in imports(parsed(path)):
        head, _, rest = module.partition(".")
        if head == "pumpwatch":
            assert not rest or rest in pumpwatch.__all__, f"{path}:{line} imports {module}"
        if head in ("pumpwatch_plugins", "plugins"):  # its own second file, where 250 lines do not hold it
            in_package = len(path.relative_to(ROOT / "plugins").parts) == 3  # plugins/sinks/questdb/sink.py
            own = in_package and module.startswith(f"{package}.")
            own = own or module.removeprefix(f"{package}.").startswith(path.stem.split("_")[0])
            assert own, f"{path}:{line} imports {module}"


def test_no_two_stages_read_each_other() -> None:
    for stage, upstream in READS.items():
        for other in upstream:
            assert stage not in READS[other]


def exchange_names() -> set[str]:
    return {path.stem.split("_")[0] for path in PLUGINS if path.parent.name in ("exchanges", "sources", "simulators")}


@pytest.mark.parametrize("path", [path for path in CORE if path.name != "config.py"],
                         ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_names_no_exchange(path: Path) -> None:
    """Docstrings and comments may, as examples; the default config does, as data."""
    tree = parsed(path)
    docstrings = {id(node.body[0].value) for node in ast.walk(tree)
                  if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and node.body
                  and isinstance(node.body[0], ast.Expr)}
    named = exchange_names()
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            text = node.value
        elif isinstance(node, ast.Name):
            text = node.id
        elif isinstance(node, ast.Attribute):
            text = node.attr
        for name in named:
            assert not re.search(rf"(?<![a-z]){name}(?![a-z])", text.lower()), f"{path}:{node.lineno} names {name}"  # type: ignore[attr-defined]


def test_modules_are_small() -> None:
    sizes = {path: lines_of(path) for path in CORE}
    assert {str(path): size for path, size in sizes.items() if size > 400} == {}
    assert statistics.median(size for path, size in sizes.items() if path.name != "__init__.py") <= 200


def test_plugins_are_small_and_whole() -> None:
    sizes = {str(path): lines_of(path) for path in PLUGINS if path.parent.parent.name == "plugins"}
    assert {path: size for path, size in sizes.items() if not 60 <= size <= 250} == {}


def test_functions_are_small() -> None:
    long = [f"{path}:{node.lineno} {node.name}" for path in [*CORE, *PLUGINS] for node in ast.walk(parsed(path))
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (node.end_lineno or 0) - node.lineno >= 60]
    assert long == []


def test_only_main_patches_and_before_anything_else() -> None:
    for path in [*CORE, *PLUGINS]:
        patches = any(isinstance(node, ast.Attribute) and node.attr == "patch_all" for node in ast.walk(parsed(path)))
        assert patches == (path.name == "__main__.py" and path.parent.name == "pumpwatch"), path
    body = parsed(ROOT / "pumpwatch" / "__main__.py").body
    assert [ast.unparse(node) for node in body[1:3]] == ["from gevent import monkey", "monkey.patch_all()"]


CATCH_ALL = {ROOT / "pumpwatch" / name for name in (
    "supervisor.py", "plugins.py", "plugin_kit/sandbox.py", "listing/border.py",
    "pipeline/ingest.py", "pipeline/parse.py", "pipeline/venue_reader.py")}


def test_everything_is_caught_in_the_supervisor_and_around_other_peoples_code_alone() -> None:
    for path in [*CORE, *PLUGINS]:
        if path in CATCH_ALL:
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "BaseException"
                reraises = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
                assert caught not in ("Exception", "BaseException") or reraises, f"{path}:{node.lineno}"


def test_no_name_says_nothing() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
    assert [str(path) for path in [*CORE, *PLUGINS] if path.stem in vague] == []


def test_nothing_is_left_to_do() -> None:
    for path in [*CORE, *PLUGINS]:
        for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline):
            if token.type == tokenize.COMMENT:
                words = set(token.string.replace(":", " ").split())
                assert not {"TODO", "FIXME", "XXX"} & words, f"{path}:{token.start[0]}"


def test_the_package_list_is_the_folders() -> None:
    listed = set(SETUP["options"]["packages"].split())
    core = {".".join(path.parent.relative_to(ROOT).parts) for path in CORE if path.name == "__init__.py"}
    plugins = {".".join(("pumpwatch_plugins", *path.parent.relative_to(ROOT / "plugins").parts))
               for path in (ROOT / "plugins").rglob("__init__.py")}
    assert listed == core | plugins


def test_every_plugin_that_ships_has_an_entry_point() -> None:
    points = dict(line.split(" = ") for line in SETUP["options.entry_points"]["pumpwatch.plugins"].strip().splitlines())
    hooked = {".".join(("pumpwatch_plugins", *path.relative_to(ROOT / "plugins").with_suffix("").parts)).removesuffix(".__init__")
              for path in (ROOT / "plugins").rglob("*.py") if "@hookimpl" in path.read_text("utf-8")}
    assert set(points.values()) == hooked


DISTRIBUTION_OF = {"websocket": "websocket-client", "sqlite_utils": "sqlite-utils", "yaml": "PyYAML"}


def test_what_is_installed_is_what_is_imported() -> None:
    """Tests and the `parquet` extra have their own lists."""
    declared = {re.split(r"[><=]", line)[0] for line in SETUP["options"]["install_requires"].split("\n") if line}
    extra = {re.split(r"[><=]", line)[0] for line in SETUP["options.extras_require"]["parquet"].split("\n") if line}
    imported = {module.split(".")[0] for path in [*CORE, *PLUGINS] for _, module in imports(parsed(path))}
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
