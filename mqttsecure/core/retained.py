# -*- test-case-name: tests.core.test_retained -*-
"""Retained messages, found by Topic Filter at a cost in proportion to what matches at each level."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

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

    def has_room_for(self, message: Message, replaced: Message | None) -> bool:
        """Whether :meth:`put` would keep within the budget; ``replaced`` is what :meth:`get` has for its topic."""
        count = self.count + (replaced is None)
        octets = self.octets + message.size - (replaced.size if replaced is not None else 0)
        return count <= self.maximum_messages and octets <= self.maximum_bytes

    def put(self, message: Message) -> None:
        """Keep ``message`` as its topic's retained one; ask :meth:`has_room_for` first."""
        namespace = message.envelope.namespace
        node = self._roots.get(namespace)
        if node is None:
            node = self._roots[namespace] = _Node()
        for level in message.topic.split("/"):
            children = node.children
            if children is None:
                children = node.children = {}
            child = children.get(level)
            if child is None:
                child = children[level] = _Node()
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

    def matching(self, topic_filter: str, namespace: str = "") -> Iterator[Message]:
        """The retained messages of ``namespace`` that ``topic_filter`` matches, each as it is when it is come to.

        Messages may be put and removed meanwhile; one that comes after its place was passed is not seen.
        """
        root = self._roots.get(namespace)
        if root is None:
            return iter(())
        return _walk(root, topic_filter.split("/"))


_ALL_BELOW: Final = -1
"""In place of a depth: this level and everywhere below it."""


def _walk(root: _Node, levels: list[str]) -> Iterator[Message]:
    """Messages that a filter's ``levels`` match, what is above before what is below it."""
    stack: list[tuple[_Node, int]] = [(root, 0)]
    while stack:
        node, depth = stack.pop()
        if depth == _ALL_BELOW or depth == len(levels):
            if node.message is not None:
                yield node.message
            if depth == _ALL_BELOW and node.children:
                stack.extend([(child, _ALL_BELOW) for child in node.children.values()])
            continue
        level = levels[depth]
        if level == "#" and depth:
            stack.append((node, _ALL_BELOW))
        elif level == "#":
            stack.extend([(child, _ALL_BELOW) for child in _under_root(node)])
        elif level == "+":
            children = (node.children or {}).values() if depth else _under_root(node)
            below = levels[depth + 1] if depth + 1 < len(levels) else "#"
            if below in ("+", "#"):
                stack.extend([(child, depth + 1) for child in children])
            else:  # Of a wide level only what leads on is put on the stack.
                named = [child.children.get(below) for child in children if child.children]
                stack.extend([(child, depth + 2) for child in named if child is not None])
        elif node.children is not None and (child := node.children.get(level)) is not None:
            stack.append((child, depth + 1))


def _under_root(root: _Node) -> list[_Node]:
    """What a leading wildcard reaches: not what starts with $, v5.0 [MQTT-4.7.2-1]."""
    return [child for level, child in (root.children or {}).items() if level[:1] != "$"]
