"""Read YAML strictly: a key given twice is an error, and no error shows the file's own text."""

from __future__ import annotations

from typing import Any

import yaml


class Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, where YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word, not a list or a mapping (put "
                                                        "quotes around a value that begins with { or [)",
                                                        key_node.start_mark)
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key `{key_node.value}` is given twice",
                                                        key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def without_snippet(error: yaml.YAMLError) -> str:
    """Return what is wrong with YAML text and where, without the text itself."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    mark = error.problem_mark or error.context_mark
    at = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    return f"{', '.join(filter(None, (error.context, error.problem)))}{at}"
