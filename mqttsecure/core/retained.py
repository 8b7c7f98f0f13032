# -*- test-case-name: tests.core.test_retained -*-
"""Retained messages, found by Topic Filter at a cost in proportion to what matches at each level."""

from __future__ import annotations

from collections.abc import Iterator

from mqttsecure.core.model import Message
from mqttsecure.core.usage import WriterCounts

__all__ = ["RetainedMessages"]


class _Node:
    __slots__ = ("children", "message")

    def __init__(self) -> None:
        self.children: dict[str, _Node] | None = None
        self.message: Message | None = None


class RetainedMessages:
    """The last retained message of each Topic Name, each namespace's by themselves, within one budget for all."""

    def __init__(self, maximum_messages: int, maximum_bytes: int) -> None:
        self._roots: dict[str, _Node] = {}
        self.maximum_messages = maximum_messages
        self.maximum_bytes = maximum_bytes
        self.count = 0
        self.octets = 0
        self.writers = WriterCounts()

    def has_room_for(self, message: Message) -> bool:
        """Whether :meth:`put` would keep within the budget."""
        old = self.get(message.topic, message.envelope.namespace)
        count = self.count + (old is None)
        octets = self.octets + message.size - (old.size if old is not None else 0)
        return count <= self.maximum_messages and octets <= self.maximum_bytes

    def put(self, message: Message) -> None:
        """Keep ``message`` as its topic's retained one; ask :meth:`has_room_for` first."""
        node = self._roots.setdefault(message.envelope.namespace, _Node())
        for level in message.topic.split("/"):
            if node.children is None:
                node.children = {}
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node()
            node = child
        if node.message is not None:
            self._count(node.message, -1)
        node.message = message
        self._count(message, 1)

    def _count(self, message: Message, sign: int) -> None:
        self.count += sign
        self.octets += sign * message.size
        self.writers.add(message.envelope.writer.principal, sign, sign * message.size)

    def get(self, topic: str, namespace: str = "") -> Message | None:
        """The retained message of ``topic`` in ``namespace``."""
        node = self._roots.get(namespace)
        if node is None:
            return None
        for level in topic.split("/"):
            child = node.children.get(level) if node.children else None
            if child is None:
                return None
            node = child
        return node.message

    def remove(self, topic: str, namespace: str = "") -> bool:
        """Forget the topic's retained message in ``namespace``; whether there was one."""
        root = self._roots.get(namespace)
        if root is None:
            return False
        levels = topic.split("/")
        path = [root]
        for level in levels:
            node = path[-1]
            child = node.children.get(level) if node.children else None
            if child is None:
                return False
            path.append(child)
        message = path[-1].message
        if message is None:
            return False
        path[-1].message = None
        self._count(message, -1)
        for position in range(len(levels) - 1, -1, -1):
            node = path[position + 1]
            children = path[position].children
            if node.message is not None or node.children or children is None:
                break
            del children[levels[position]]
        if not root.children:
            del self._roots[namespace]
        return True

    def matching(self, topic_filter: str, namespace: str = "") -> list[str]:
        """The Topic Names of all retained messages of ``namespace`` that ``topic_filter`` matches."""
        topics: list[str] = []
        root = self._roots.get(namespace)
        if root is None:
            return topics
        levels = topic_filter.split("/")
        stack: list[tuple[_Node, int]] = [(root, 0)]
        while stack:
            node, depth = stack.pop()
            if depth == len(levels):
                if node.message is not None:
                    topics.append(node.message.topic)
                continue
            level = levels[depth]
            if level == "#":
                topics.extend(_below(node, is_root=depth == 0))
            elif level == "+":
                stack.extend((child, depth + 1) for child in _children(node, is_root=depth == 0))
            elif node.children is not None and (child := node.children.get(level)) is not None:
                stack.append((child, depth + 1))
        return topics


def _children(node: _Node, *, is_root: bool) -> Iterator[_Node]:
    """The children that a wildcard reaches: at the root not those that start with $, v5.0 [MQTT-4.7.2-1]."""
    for level, child in (node.children or {}).items():
        if not (is_root and level[:1] == "$"):
            yield child


def _below(node: _Node, *, is_root: bool) -> Iterator[str]:
    """Topic Names at ``node`` and everywhere below it."""
    if not is_root and node.message is not None:
        yield node.message.topic
    stack = list(_children(node, is_root=is_root))
    while stack:
        node = stack.pop()
        if node.message is not None:
            yield node.message.topic
        if node.children:
            stack.extend(node.children.values())
