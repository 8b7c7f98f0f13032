# -*- test-case-name: tests.core.test_subscriptions -*-
"""Who gets a Topic Name: a trie of Topic Filters by level.

On the path of each message whose receivers are not yet known. The cost of a match grows with the levels of the
Topic Name and the filters that match it, not with the subscriptions that do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mqttsecure.wire.topics import split_shared

if TYPE_CHECKING:
    from mqttsecure.core.session import Session

__all__ = ["SharedGroup", "Subscription", "SubscriptionTree"]

_OVERHEAD: Final = 500
"""Bytes of a subscription beyond its Topic Filter: the object, its entries in session and trie, a level of its own."""


class Subscription:
    """One Topic Filter of one session with its Subscription Options.

    ``topic_filter`` is as the client wrote it, ``inner`` the part that matches topics. ``identifier`` is 0 for none.
    """

    __slots__ = (
        "group",
        "identifier",
        "inner",
        "no_local",
        "qos",
        "retain_as_published",
        "retain_handling",
        "session",
        "topic_filter",
    )

    def __init__(
        self,
        session: Session,
        topic_filter: str,
        qos: int,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
        identifier: int = 0,
    ) -> None:
        self.session = session
        self.topic_filter = topic_filter
        self.inner = split_shared(topic_filter)[1]
        self.qos = qos
        self.no_local = no_local
        self.retain_as_published = retain_as_published
        self.retain_handling = retain_handling
        self.identifier = identifier
        self.group: SharedGroup | None = None


def _cost(subscription: Subscription) -> int:
    return len(subscription.topic_filter) + _OVERHEAD


class SharedGroup:
    """The members of one shared subscription, each message going to one of them in turn."""

    __slots__ = ("_next", "inner", "members", "name")

    def __init__(self, name: str, inner: str) -> None:
        self.name = name
        self.inner = inner
        self.members: list[Subscription] = []
        self._next = 0

    def candidates(self) -> Iterator[Subscription]:
        """All members, each at most once, starting after the one that was taken last."""
        members = self.members
        count = len(members)
        start = self._next % count if count else 0
        for offset in range(count):
            yield members[(start + offset) % count]

    def has_connected_member(self) -> bool:
        return any(member.session.connection is not None for member in self.members)

    def taken(self, member: Subscription) -> None:
        """Tell that ``member`` got the message, so that the next one goes to another."""
        self._next = self.members.index(member) + 1


class _Node:
    """A level of the trie. ``plain`` and ``rest`` (for filters that end in ``#`` here) hold one entry per session."""

    __slots__ = ("children", "groups", "plain", "plus", "rest", "rest_groups")

    def __init__(self) -> None:
        self.children: dict[str, _Node] | None = None
        self.plus: _Node | None = None
        self.plain: dict[Session, Subscription] | None = None
        self.rest: dict[Session, Subscription] | None = None
        self.groups: dict[str, SharedGroup] | None = None
        self.rest_groups: dict[str, SharedGroup] | None = None

    def is_empty(self) -> bool:
        return not (self.children or self.plus or self.plain or self.rest or self.groups or self.rest_groups)


class SubscriptionTree:
    """All subscriptions, each namespace's by themselves.

    ``octets`` is roughly what they cost in memory. ``stamp`` changes whenever what a topic matches may have changed, in
    whatever namespace.
    """

    def __init__(self) -> None:
        self._roots: dict[str, _Node] = {}
        self.count = 0
        self.octets = 0
        self.stamp = 0

    def is_empty(self) -> bool:
        """Whether not even an unused level is left."""
        return not self._roots

    def add(self, subscription: Subscription) -> bool:
        """Add or replace the session's subscription to the same Topic Filter; whether it is new."""
        name, inner = split_shared(subscription.topic_filter)
        levels = inner.split("/")
        namespace = subscription.session.namespace
        root = self._roots.get(namespace)
        if root is None:
            root = self._roots[namespace] = _Node()
        node, is_rest = _reach(root, levels)
        self.stamp += 1
        if name is not None:
            new = _add_member(node, is_rest, name, inner, subscription)
        else:
            entries = _entries(node, is_rest)
            new = subscription.session not in entries
            entries[subscription.session] = subscription
        self.count += new
        self.octets += new * _cost(subscription)
        return new

    def remove(self, subscription: Subscription) -> bool:
        """Take it out; whether it was there."""
        name, inner = split_shared(subscription.topic_filter)
        levels = inner.split("/")
        is_rest = levels[-1] == "#"
        if is_rest:
            levels.pop()
        namespace = subscription.session.namespace
        root = self._roots.get(namespace)
        path = None if root is None else _path(root, levels)
        if path is None:
            return False
        removed = (
            _remove_member(path[-1], is_rest, name, subscription)
            if name is not None
            else _remove_plain(path[-1], is_rest, subscription)
        )
        if removed:
            self.stamp += 1
            self.count -= 1
            self.octets -= _cost(subscription)
            _prune(path, levels)
            if path[0].is_empty():
                del self._roots[namespace]
        return removed

    def match(self, topic: str, namespace: str = "") -> tuple[list[Subscription], list[SharedGroup]]:
        """All subscriptions of ``namespace`` that match ``topic``, and the shared ones by group."""
        found: list[Subscription] = []
        groups: list[SharedGroup] = []
        levels = topic.split("/")
        nodes = _start(self._roots.get(namespace), levels)
        for level in levels:
            following: list[_Node] = []
            for node in nodes:
                _take_rest(node, found, groups)
                if node.children is not None and (child := node.children.get(level)) is not None:
                    following.append(child)
                if node.plus is not None:
                    following.append(node.plus)
            nodes = following
            if not nodes:
                break
        for node in nodes:
            _take_rest(node, found, groups)  # "a/#" matches "a" as well, v5.0 section 4.7.1.2
            if node.plain:
                found.extend(node.plain.values())
            if node.groups:
                groups.extend(node.groups.values())
        return found, groups


def _start(root: _Node | None, levels: list[str]) -> list[_Node]:
    """Where a match begins, with the levels that are left then."""
    if root is None or levels[0][:1] != "$":
        return [] if root is None else [root]
    # v5.0 [MQTT-4.7.2-1]: a leading wildcard does not match a topic that starts with $.
    child = root.children.get(levels.pop(0)) if root.children else None
    return [] if child is None else [child]


def _reach(node: _Node, levels: list[str]) -> tuple[_Node, bool]:
    """The node below ``node`` where ``levels`` ends, made where missing, and whether it ends in ``#``."""
    for level in levels:
        if level == "#":
            return node, True
        if level == "+":
            if node.plus is None:
                node.plus = _Node()
            node = node.plus
        else:
            if node.children is None:
                node.children = {}
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node()
            node = child
    return node, False


def _path(root: _Node, levels: list[str]) -> list[_Node] | None:
    """The nodes from ``root`` to where ``levels`` ends."""
    path = [root]
    for level in levels:
        node = path[-1]
        child = node.plus if level == "+" else node.children.get(level) if node.children else None
        if child is None:
            return None
        path.append(child)
    return path


def _take_rest(node: _Node, found: list[Subscription], groups: list[SharedGroup]) -> None:
    if node.rest:
        found.extend(node.rest.values())
    if node.rest_groups:
        groups.extend(node.rest_groups.values())


def _entries(node: _Node, is_rest: bool) -> dict[Session, Subscription]:
    if is_rest:
        if node.rest is None:
            node.rest = {}
        return node.rest
    if node.plain is None:
        node.plain = {}
    return node.plain


def _add_member(node: _Node, is_rest: bool, name: str, inner: str, subscription: Subscription) -> bool:
    groups = node.rest_groups if is_rest else node.groups
    if groups is None:
        groups = {}
        if is_rest:
            node.rest_groups = groups
        else:
            node.groups = groups
    group = groups.get(name)
    if group is None:
        group = groups[name] = SharedGroup(name, inner)
    subscription.group = group
    for position, member in enumerate(group.members):
        if member.session is subscription.session:
            group.members[position] = subscription
            return False
    group.members.append(subscription)
    return True


def _remove_member(node: _Node, is_rest: bool, name: str, subscription: Subscription) -> bool:
    groups = node.rest_groups if is_rest else node.groups
    group = groups.get(name) if groups else None
    if groups is None or group is None:
        return False
    for position, member in enumerate(group.members):
        if member.session is subscription.session:
            del group.members[position]
            if not group.members:
                del groups[name]
            return True
    return False


def _remove_plain(node: _Node, is_rest: bool, subscription: Subscription) -> bool:
    entries = node.rest if is_rest else node.plain
    return entries is not None and entries.pop(subscription.session, None) is not None


def _prune(path: list[_Node], levels: list[str]) -> None:
    """Drop nodes that hold nothing any more, from the far end."""
    for position in range(len(levels) - 1, -1, -1):
        if not path[position + 1].is_empty():
            return
        parent, level = path[position], levels[position]
        if level == "+":
            parent.plus = None
        elif parent.children is not None:
            del parent.children[level]
