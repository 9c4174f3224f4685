"""YAML: strict, with places, and without the file's own text in a message."""

from __future__ import annotations

import pytest

from pumpwatch.yaml_loader import InvalidYaml, YamlSource, parse

TEXT = """\
store:
  dir: data
exchanges:
  okx: {spot: {symbols: [A, B]}}
"""


@pytest.mark.parametrize(("text", "line", "column", "says"), [
    ("a: 1\na: 2", 2, 1, "the key `a` is given twice"),
    ("a: {b: {{ c }}}", 1, 9, "a key must be a word"),
    ("a: [secret\nb: ]", 2, 2, "expected ',' or ']'"),
    ("\x00", 0, 0, "special characters are not allowed")])
def test_what_is_not_yaml_is_named_with_its_place(text: str, line: int, column: int, says: str) -> None:
    with pytest.raises(InvalidYaml) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert says in str(caught.value) and "secret" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "place"), [
    ("store", "f.yaml:1:1"), ("store.dir", "f.yaml:2:3"), ("exchanges.okx.spot", "f.yaml:4:9"),
    ("exchanges.okx.spot.symbols.1", "f.yaml:4:29"), ("store.nothing", "f.yaml"), ("exchanges.okx.spot.symbols.7", "f.yaml"),
    ("store.dir.deeper", "f.yaml")])
def test_a_key_has_a_line_and_a_column(key: str, place: str) -> None:
    assert YamlSource("f.yaml", TEXT).at(key) == place


def test_a_config_without_a_file_has_no_places() -> None:
    assert (YamlSource("config").at("store"), YamlSource("config").is_file) == ("config", False)


def test_data_are_read_as_they_are() -> None:
    assert parse(TEXT)["exchanges"] == {"okx": {"spot": {"symbols": ["A", "B"]}}}
