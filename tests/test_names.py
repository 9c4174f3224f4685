"""A name stands for one thing, and says what it is."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.source_tree import CORE, PLUGINS, nodes


def test_no_name_says_nothing() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
    assert [str(path) for path in [*CORE, *PLUGINS] if path.stem in vague] == []


def test_two_public_classes_never_share_a_name() -> None:
    """Those of a plugin are private to its file."""
    found = defaultdict(list)
    for path in CORE:
        for node in nodes(path):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


def test_a_loop_variable_says_what_it_holds() -> None:
    vague = {"one", "it", "thing", "tmp"}
    assert [f"{path}:{name.lineno} {name.id}" for path in [*CORE, *PLUGINS] for node in nodes(path)
            if isinstance(node, (ast.For, ast.comprehension)) for name in ast.walk(node.target)
            if isinstance(name, ast.Name) and name.id in vague] == []
