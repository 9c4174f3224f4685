"""The hooks that a plugin may implement."""

from __future__ import annotations

import pluggy
import pytest

from pumpwatch.hook_marker import hookimpl
from pumpwatch.hookspecs import HookSpecs, Keeping, Verdict, WriteResult


class Plugin:
    @hookimpl
    def sinks(self) -> list[str]:
        return ["mine"]


class Misspelt:
    @hookimpl
    def sink(self) -> list[str]:
        return []


def manager_with(plugin: object) -> pluggy.PluginManager:
    manager = pluggy.PluginManager("pumpwatch")
    manager.add_hookspecs(HookSpecs)
    manager.register(plugin)
    return manager


def test_a_marked_function_answers_its_hook() -> None:
    assert manager_with(Plugin()).hook.sinks() == [["mine"]]
    assert {name for name in vars(HookSpecs) if not name.startswith("_")} == {
        "exchange_venues", "sinks", "listing_sources", "simulator_dialects", "paper_strategies"}


def test_a_misspelt_hook_is_found() -> None:
    with pytest.raises(pluggy.PluginValidationError, match="sink"):
        manager_with(Misspelt()).check_pending()


def test_what_a_sink_or_title_does_not_say_has_a_cautious_default() -> None:
    assert WriteResult(3).refused == () and Keeping().at_risk_s == 300 and not Keeping().empty
    assert (Verdict("other").symbols, Verdict("other").needs_body) == ((), False)
