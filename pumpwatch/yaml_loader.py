"""Read YAML strictly: a repeated key is an error, and an error has a line and a column and never shows the file's own text."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import yaml


class Loader(yaml.SafeLoader):
    """A SafeLoader that rejects a repeated key instead of silently keeping the last value."""

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


class InvalidYaml(ValueError):
    """The text is not valid YAML. line, column: count from 1; 0 if unknown."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.line, self.column = line, column


class YamlSource:
    """The name of a YAML file, and the place of each key in it, for messages."""

    def __init__(self, name: str, text: str | None = None) -> None:
        self.name, self.is_file, self._text = name, text is not None, text or ""

    @cached_property
    def _root(self) -> yaml.Node | None:
        try:
            return yaml.compose(self._text, Loader)
        except (yaml.YAMLError, RecursionError):
            return None

    def at(self, key: str) -> str:
        """Return `FILE:LINE:COLUMN` of a key such as `store.dir`, or only `FILE` if the file does not have the key."""
        place = self.place(key)
        return self.name if place is None else f"{self.name}:{place[0]}:{place[1]}"

    def place(self, key: str) -> tuple[int, int] | None:
        """Return the line and column of a key or list item, None if the file does not have it."""
        node, found = self._root, None
        for step in key.split("."):
            found, node = _inside(node, step)
            if found is None:
                return None
        return None if found is None else (found.start_mark.line + 1, found.start_mark.column + 1)


def parse(text: str) -> Any:
    """Return the data of YAML text. Raises InvalidYaml."""
    try:
        return yaml.load(text, Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = ", ".join(filter(None, (error.context, error.problem)))  # without the snippet, which may show a password
        raise InvalidYaml(message, *((mark.line + 1, mark.column + 1) if mark else ())) from None
    except yaml.YAMLError as error:
        raise InvalidYaml(" ".join(str(error).split())) from None


def _inside(node: yaml.Node | None, step: str) -> tuple[yaml.Node | None, yaml.Node | None]:
    """Return the key node, or list item, that a step names, and its value node."""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == step), (None, None))
    if isinstance(node, yaml.SequenceNode) and step.isdecimal() and int(step) < len(node.value):
        return node.value[int(step)], node.value[int(step)]
    return None, None
