"""Roles that one member holds at a time: the leader, and the two pollers of the notice boards."""

from __future__ import annotations

from collections.abc import Callable, Mapping

LEADER = "leader"
BOARDS = ("boards.0", "boards.1")
ROLES = (LEADER, *BOARDS)


def may_have(role: str, name: str, addresses: Mapping[str, str], holder_of: Callable[[str], str]) -> bool:
    """Return whether a member may take a free role, or keep a role that it holds.

    The two roles of the boards are for members with different addresses if possible, otherwise for different members. addresses:
    of the living members, by name. holder_of: returns the living holder of a role, or an empty text. If two holders conflict, the
    holder of the second role gives it up.
    """
    if role not in BOARDS:
        return True
    other = holder_of(BOARDS[1 - BOARDS.index(role)])
    if not other or (role == BOARDS[0] and holder_of(role) == name):
        return True
    elsewhere = {member for member, address in addresses.items() if address != addresses.get(other)}
    others = elsewhere or addresses.keys() - {other}
    return not others or name in others
