# -*- test-case-name: tests.wire.test_topics -*-
"""Topic Names and Topic Filters: validity, matching, and the algebra of filters. The only place that knows it.

On the path of each message.

Matching and the algebra take filters that :func:`check_topic_filter` let pass, without their ``$share/group/`` part
(see :func:`split_shared`), and treat a filter as the set of the Topic Names it matches:

- ``#`` matches its parent level too, so ``a/#`` holds ``a`` (v5.0 section 4.7.1.2);
- a filter that begins with a wildcard holds no Topic Name that begins with ``$`` (v5.0 [MQTT-4.7.2-1]);
- levels may be empty, but the empty Topic Name does not exist (v5.0 [MQTT-4.7.3-1]).

For two spellings of one set the second is used inside: ``#`` is ``+/#``, and ``/#`` is ``/+/#``, since their parents
would be no Topic Names. All loops are over levels, without recursion, so a filter of 32,768 levels is only long.
"""

from __future__ import annotations

from collections.abc import Sequence

from mqttsecure.errors import ProtocolError, TopicFilterInvalid, TopicNameInvalid

__all__ = [
    "MAX_TOPIC_BYTES",
    "check_topic_filter",
    "check_topic_name",
    "contains",
    "covered_by",
    "intersection",
    "intersects",
    "is_shared",
    "matches",
    "split_shared",
    "uncovered",
]

MAX_TOPIC_BYTES = 65_535
"""What the two length bytes of a string can say (v5.0 [MQTT-4.7.3-3])."""

_SHARE = "$share"
_SHARE_PREFIX = "$share/"


def _text_fault(text: str) -> str:
    """What keeps ``text`` from being any topic, as words, or "" where nothing does."""
    if not text:
        return "is empty; give it at least one character"  # v5.0 [MQTT-4.7.3-1]
    if "\0" in text:
        return "contains U+0000; remove it"  # v5.0 [MQTT-4.7.3-2]
    try:
        length = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return "contains a surrogate; remove it"  # v5.0 [MQTT-1.5.4-1]
    if length > MAX_TOPIC_BYTES:
        return f"has {length} bytes of UTF-8; shorten it to {MAX_TOPIC_BYTES}"  # v5.0 [MQTT-4.7.3-3]
    return ""


def check_topic_name(topic: str) -> None:
    """Accept a Topic Name.

    Raises:
        TopicNameInvalid: it is empty, too long, or contains a wildcard, U+0000 or a surrogate.
    """
    fault = _text_fault(topic)
    if fault:
        raise TopicNameInvalid(f"the Topic Name {fault}")
    if "+" in topic or "#" in topic:
        # v5.0 [MQTT-4.7.0-1], v3.1.1 [MQTT-4.7.1-1]
        raise TopicNameInvalid("the Topic Name contains a wildcard; remove + and #")


def check_topic_filter(topic_filter: str) -> None:
    """Accept a Topic Filter, with or without ``$share/group/`` in front.

    Raises:
        TopicFilterInvalid: it is empty, too long, has U+0000 or a surrogate, or a wildcard that is not a whole level
            or not in its place.
        ProtocolError: it begins as a shared subscription, without a valid group or a filter behind it.
    """
    fault = _text_fault(topic_filter)
    if fault:
        raise TopicFilterInvalid(f"the Topic Filter {fault}")
    if topic_filter.startswith(_SHARE):
        topic_filter = split_shared(topic_filter)[1]
    hash_at = topic_filter.find("#")
    if hash_at >= 0:
        # v5.0 [MQTT-4.7.1-1]: alone or behind a separator, and last.
        if hash_at != len(topic_filter) - 1:
            raise TopicFilterInvalid("the Topic Filter goes on after #; make # its last level")
        if hash_at and topic_filter[hash_at - 1] != "/":
            raise TopicFilterInvalid("# is only a part of a level of the Topic Filter; put / before it")
    if "+" in topic_filter:
        for level in topic_filter.split("/"):
            # v5.0 [MQTT-4.7.1-2]
            if len(level) > 1 and "+" in level:
                raise TopicFilterInvalid("+ is only a part of a level of the Topic Filter; make it a whole level")


def is_shared(topic_filter: str) -> bool:
    """Whether a Topic Filter is that of a shared subscription."""
    return topic_filter.startswith(_SHARE_PREFIX)


def split_shared(topic_filter: str) -> tuple[str | None, str]:
    """Split ``$share/group/filter`` into group and inner filter; another filter has the group None.

    Raises:
        ProtocolError: it begins as a shared subscription, without a valid group or a filter behind it.
    """
    if not topic_filter.startswith(_SHARE_PREFIX):
        if topic_filter == _SHARE:
            # A literal match of the bare word would be legal; nobody means it, and a later reader could misread it.
            raise ProtocolError("$share stands alone; write $share/group/filter")
        return None, topic_filter
    group, separator, inner = topic_filter[len(_SHARE_PREFIX) :].partition("/")
    if not group or "+" in group or "#" in group:
        # v5.0 [MQTT-4.8.2-1], [MQTT-4.8.2-2]
        raise ProtocolError("a shared subscription has no valid group; write $share/group/filter, no + or # in group")
    if not separator or not inner:
        raise ProtocolError("a shared subscription has no filter; write $share/group/filter")
    return group, inner


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a Topic Filter matches a Topic Name."""
    if topic_filter == topic:
        return True
    if "+" not in topic_filter and topic_filter[-1:] != "#":
        return False
    if topic[:1] == "$" and topic_filter[0] in "+#":
        return False  # v5.0 [MQTT-4.7.2-1]
    levels = topic.split("/")
    depth = len(levels)
    pattern = topic_filter.split("/")
    for index, level in enumerate(pattern):
        if level == "#":
            return True
        if index == depth or (level != "+" and level != levels[index]):
            return False
    return len(pattern) == depth


def _levels(topic_filter: str) -> list[str]:
    """The levels of a filter, in the spelling in which equal sets are equal lists (see the module's docstring)."""
    levels = topic_filter.split("/")
    if levels[-1] == "#" and (len(levels) == 1 or (len(levels) == 2 and not levels[0])):
        levels.insert(len(levels) - 1, "+")
    return levels


def _text(levels: list[str]) -> str:
    """The filter for :func:`_levels`, in its shorter spelling."""
    if levels[-1] == "#" and levels[-2] == "+" and (len(levels) == 2 or (len(levels) == 3 and not levels[0])):
        del levels[-2]
    return "/".join(levels)


def contains(outer: str, inner: str) -> bool:
    """Whether ``outer`` matches every Topic Name that ``inner`` matches. Exact."""
    wide = _levels(outer)
    narrow = _levels(inner)
    if wide[0] == "+" and narrow[0][:1] == "$":
        return False  # v5.0 [MQTT-4.7.2-1]
    depth = len(narrow)
    for index, level in enumerate(wide):
        if level == "#":
            return True
        if index == depth or narrow[index] == "#":
            return False
        if level != "+" and level != narrow[index]:
            return False
    return len(wide) == depth


def intersection(first: str, second: str) -> str | None:
    """The one filter that matches exactly the Topic Names matched by both, or None where there are none."""
    one = _levels(first)
    other = _levels(second)
    if (one[0] == "+" and other[0][:1] == "$") or (other[0] == "+" and one[0][:1] == "$"):
        return None  # v5.0 [MQTT-4.7.2-1]
    common: list[str] = []
    for left, right in zip(one, other, strict=False):
        if left == "#" or right == "#":
            break
        if left == "+":
            common.append(right)
        elif right == "+" or left == right:
            common.append(left)
        else:
            return None
    # One of the two is used up, or has its # here, which stands for whatever the other has left, even for nothing.
    rest_of_one = one[len(common) :]
    rest_of_other = other[len(common) :]
    if rest_of_one == ["#"]:
        common += rest_of_other
    elif rest_of_other == ["#"]:
        common += rest_of_one
    elif rest_of_one or rest_of_other:
        return None
    return _text(common)


def intersects(first: str, second: str) -> bool:
    """Whether some Topic Name is matched by both filters. Exact."""
    return intersection(first, second) is not None


def covered_by(inner: str, outers: Sequence[str], minus: Sequence[str] = ()) -> bool:
    """Whether ``outers`` together match every Topic Name of ``inner``, and ``minus`` matches none of them.

    Exact for the standard's unbounded alphabet, in which no list of literals exhausts a ``+``: so ``a/#`` is covered
    by ``a`` and ``a/+/#`` together, but ``+`` never by ``a``, ``b``, ``c`` and so on.
    """
    for excluded in minus:
        if intersects(inner, excluded):
            return False
    narrow = _levels(inner)
    alive = [_levels(outer) for outer in outers]
    if narrow[0][:1] == "$":
        alive = [levels for levels in alive if levels[0] != "+"]  # v5.0 [MQTT-4.7.2-1]
    index = 0
    # ``alive`` are the outers that agree with ``inner`` on all levels before ``index``. Past a # of ``inner`` the walk
    # asks, level by level, that names which end here and names which go on are both covered, until an outer's own #
    # covers them all or no outer is left.
    open_ended = False
    while alive:
        if any(len(levels) > index and levels[index] == "#" for levels in alive):
            return True
        open_ended = open_ended or (index < len(narrow) and narrow[index] == "#")
        if (open_ended or index == len(narrow)) and not any(len(levels) == index for levels in alive):
            return False
        if not open_ended and index == len(narrow):
            return True
        level = "+" if open_ended else narrow[index]
        # For a + only a + will do: some value of the level is named by no outer.
        alive = [levels for levels in alive if len(levels) > index and (levels[index] == "+" or levels[index] == level)]
        index += 1
    return False


def uncovered(inner: str, outers: Sequence[str], level: str = "x") -> str | None:
    """A Topic Name that ``inner`` matches and none of ``outers`` does, or None where there is none. Exact.

    Args:
        inner: the filter to look in.
        outers: the filters to stay out of.
        level: what to put where any level will do; it gets a number where a filter names it.
    """
    narrow = _levels(inner)
    alive = [_levels(outer) for outer in outers]
    if narrow[0][:1] == "$":
        alive = [levels for levels in alive if levels[0] != "+"]  # v5.0 [MQTT-4.7.2-1]
    free = _free_level(level, alive)
    topic: list[str] = []
    open_ended = False
    while True:
        index = len(topic)
        if any(len(levels) > index and levels[index] == "#" for levels in alive):
            return None
        open_ended = open_ended or (index < len(narrow) and narrow[index] == "#")
        if (open_ended or index == len(narrow)) and not any(len(levels) == index for levels in alive):
            return "/".join(topic)
        if not open_ended and index == len(narrow):
            return None
        wanted = free if open_ended or narrow[index] == "+" else narrow[index]
        topic.append(wanted)
        alive = [levels for levels in alive if len(levels) > index and levels[index] in ("+", wanted)]


def _free_level(level: str, filters: Sequence[Sequence[str]]) -> str:
    """A level like ``level`` that is no wildcard, begins no ``$`` topic, and that no filter names."""
    if not level or level[0] == "$" or any(sign in level for sign in "+#/\0"):
        level = "x"
    taken = {each for levels in filters for each in levels}
    found, number = level, 0
    while found in taken:
        number += 1
        found = f"{level}{number}"
    return found
