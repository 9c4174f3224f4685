"""Roles, each of which one member has at a time: to lead, and to ask the notice boards from two places."""

from __future__ import annotations

from collections.abc import Callable, Mapping

LEADER = "leader"
BOARDS = ("boards.0", "boards.1")
ROLES = (LEADER, *BOARDS)


def may_have(role: str, name: str, addresses: Mapping[str, str], holder_of: Callable[[str], str]) -> bool:
    """Return whether a member may take a role that is free, or keep one that it has.

    The two roles of the boards are for members of different addresses where there are two, else for different members where
    there are two. addresses: of the living members, by name. holder_of: the living holder of a role, empty for none.
    Of two holders that should not be both, that of the second role gives it up.
    """
    if role not in BOARDS:
        return True
    other = holder_of(BOARDS[1 - BOARDS.index(role)])
    if not other or (role == BOARDS[0] and holder_of(role) == name):
        return True
    elsewhere = {member for member, address in addresses.items() if address != addresses.get(other)}
    others = elsewhere or addresses.keys() - {other}
    return not others or name in others
