"""Explains each error of Redis and of its client library in one clear line."""

from __future__ import annotations

from pumpwatch.errors import ServiceUnavailable


class RedisUnavailable(ServiceUnavailable):
    """Redis is away, late, or rejected the command; the caller answers from local state.

    kind: `away` (not tried), `late`, `timeout`, `connection`, `password`, `permission`, `loading`, `cluster_down`, `moved`,
    `wrong_type`, `cross_slot`, `read_only`, `memory`, `script` or `rejected`.
    """

    def __init__(self, message: str, kind: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.kind = kind


# These errors are about a command: they do not mean that Redis is away.
OF_THE_COMMAND = frozenset({"wrong_type", "cross_slot", "script", "rejected", "permission", "memory", "late", "away"})
REJECTIONS = OF_THE_COMMAND - {"late", "away"}  # the server answers, but a person has to fix something
# The library drops the code of an answer for which it has a class: those are recognised by the class, the others by their text.
CLASSES = {
    "AuthenticationError": "password", "AuthenticationWrongNumberOfArgsError": "password", "NoPermissionError": "permission",
    "BusyLoadingError": "loading", "ClusterDownError": "cluster_down", "MasterDownError": "cluster_down",
    "SlotNotCoveredError": "cluster_down", "ReadOnlyError": "read_only", "OutOfMemoryError": "memory", "TryAgainError": "moved",
    "MovedError": "moved", "AskError": "moved", "ClusterCrossSlotError": "cross_slot", "TimeoutError": "timeout",
}
SAYINGS = {
    "Authentication required": "no_password", "NOAUTH": "no_password", "WRONGPASS": "password",
    "invalid username-password": "password", "without any password configured": "password", "NOPERM": "permission",
    "LOADING": "loading", "loading the dataset": "loading",
    "CLUSTERDOWN": "cluster_down", "MASTERDOWN": "cluster_down", "not covered": "cluster_down", "WRONGTYPE": "wrong_type",
    "CROSSSLOT": "cross_slot", "same slot": "cross_slot", "READONLY": "read_only", "OOM ": "memory", "TTL exhausted": "moved",
    "MISCONF": "no_disk", "NOREPLICAS": "no_replicas", "Timeout": "timeout", "timed out": "timeout",
}
MEANINGS = {
    "wrong_type": "a key holds another type; another program may use the same redis.prefix",
    "cross_slot": "the keys of one command are in different slots",
    "loading": "the server is loading its data",
    "password": "redis.username or redis.password is wrong",
    "no_password": "the server requires a password: set redis.password",
    "permission": "the user of redis.username may not run this command",
    "cluster_down": "the cluster is down: some slots have no master",
    "read_only": "the node became a replica",
    "memory": "the server is out of memory and its policy evicts nothing",
    "moved": "nodes send the same command to each other: they disagree about a slot",
    "timeout": "a node does not answer",
    "no_disk": "the server cannot save to its disk and rejects writes",
    "no_replicas": "the server has too few replicas and rejects writes",
    "away": "not tried",
    "connection": "no connection",
    "script": "a script failed",
    "rejected": "the server rejected a command",
}
KINDS = {"no_password": "password", "no_disk": "rejected", "no_replicas": "rejected"}  # meaning -> kind, if they differ


def explain(error: Exception) -> RedisUnavailable:
    """Return the explanation of an error of the library."""
    meaning = _meaning(error)
    said = " ".join(str(error).split())
    return RedisUnavailable(f"{MEANINGS[meaning]} ({said})" if said else MEANINGS[meaning], KINDS.get(meaning, meaning))


def _meaning(error: BaseException) -> str:
    """Return the key of MEANINGS for an error, or for the error that it wraps: the cluster client wraps errors of nodes."""
    from redis.exceptions import ConnectionError as LostConnection
    from redis.exceptions import RedisClusterException

    if type(error).__name__ == "NodeAway":  # its text repeats an earlier error of the node
        return "away"
    text = " ".join(str(error).split())[:300]
    for saying, meaning in SAYINGS.items():
        if saying in text:
            return meaning
    if type(error).__name__ in CLASSES:
        return CLASSES[type(error).__name__]
    if error.__cause__ is not None and error.__cause__ is not error:
        return _meaning(error.__cause__)
    if isinstance(error, (LostConnection, RedisClusterException, OSError)):
        return "connection"
    return "script" if "script" in text.lower() else "rejected"
