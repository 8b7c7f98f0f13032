# -*- test-case-name: tests.cli.test_client_properties -*-
"""Properties of MQTT 5.0 on the command line: ``content-type text/plain``, ``user-property key=value``."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final, cast, get_type_hints

from mqttsecure.client.failures import OptionsInvalid
from mqttsecure.errors import EncodeError
from mqttsecure.wire.packets import Properties
from mqttsecure.wire.properties import encode_properties, property_type

__all__ = ["properties_of"]

_NAMES: Final = tuple(get_type_hints(Properties))


def properties_of(pairs: Iterable[tuple[str, str]], packet_type: int) -> Properties:
    """The properties that ``pairs`` of names and values say, for one packet type.

    Raises:
        OptionsInvalid: one of them does not exist, may not stand there, or has no such value.
    """
    found: dict[str, Any] = {}
    for written, text in pairs:
        name = written.lower().replace("-", "_")
        if name not in _NAMES:
            near = get_close_matches(name, _NAMES, 1)
            hint = f"did you mean {near[0].replace('_', '-')}?" if near else "see section 2.2.2.2 of MQTT 5.0"
            raise OptionsInvalid(f"there is no property {written!r}", hint)
        value = _value(name, text)
        if name in ("user_property", "subscription_identifier"):
            found.setdefault(name, []).append(value)
        elif name in found:
            raise OptionsInvalid(f"the property {written!r} stands there twice", "give it once")
        else:
            found[name] = value
    properties = cast(Properties, found)
    try:
        encode_properties(properties, packet_type)
    except EncodeError as error:
        raise OptionsInvalid(str(error), "mend that property") from None
    return properties


def _value(name: str, text: str) -> Any:
    kind = property_type(name)
    if kind == "pair":
        key, separator, value = text.partition("=")
        if not separator:
            raise OptionsInvalid(f"{text!r} is no user property", "write user-property KEY=VALUE")
        return key, value
    if kind == "string":
        return text
    if kind == "binary":
        return text.encode()
    try:
        return int(text)
    except ValueError:
        raise OptionsInvalid(f"{text!r} is no number for the property {name}", f"give a {kind}") from None
