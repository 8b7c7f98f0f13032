# -*- test-case-name: tests.lab.tls.test_extensions -*-
"""Lists of distinguished names (DER), as certificate requests carry them."""

from __future__ import annotations

from typing import Final

from mqttsecure.lab.tls.cursor import Cursor, Malformed

__all__ = ["distinguished_names"]

_MAX_NAMES: Final = 1024
"""Authorities in one list: a system's whole store of CAs has about 150."""

_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_OBJECT_IDENTIFIER: Final = 0x06
_BMP_STRING: Final = 0x1E

_ATTRIBUTES: Final = {
    "550403": "CN",
    "550404": "SN",
    "550405": "serialNumber",
    "550406": "C",
    "550407": "L",
    "550408": "ST",
    "550409": "STREET",
    "55040a": "O",
    "55040b": "OU",
    "55040c": "title",
    "55042a": "GN",
    "550461": "organizationIdentifier",
    "2a864886f70d010901": "emailAddress",
    "0992268993f22c640119": "DC",
    "0992268993f22c640101": "UID",
}
"""Object identifiers, as the hex of their DER content."""


def distinguished_names(cursor: Cursor) -> list[str]:
    """Read a list of names, each as RFC 4514 writes it; one that cannot be read stays as hex.

    Raises:
        Malformed: the list itself is damaged, or longer than any.
    """
    inner = cursor.inside(2, "the authorities")
    names: list[str] = []
    while inner.left:
        if len(names) >= _MAX_NAMES:
            raise Malformed(f"more than {_MAX_NAMES} authorities")
        der = inner.vector(2, "an authority")
        try:
            names.append(_name(der))
        except Malformed:
            names.append(f"#{der.hex()}")
    return names


def _element(cursor: Cursor, wanted: int | None = None) -> tuple[int, Cursor]:
    """Tag and content of the next element."""
    tag = cursor.number(1, "a tag")
    length = cursor.number(1, "a length")
    if length & 0x80:
        length = cursor.number(length & 0x7F, "a length")
    if length > cursor.left or (wanted is not None and tag != wanted):
        raise Malformed("the DER of a name is damaged")
    content = Cursor(cursor.data, cursor.position, cursor.position + length)
    cursor.position += length
    return tag, content


def _name(der: bytes) -> str:
    _tag, name = _element(Cursor(der), _SEQUENCE)
    parts = []
    while name.left:
        _tag, group = _element(name, _SET)
        pairs = []
        while group.left:
            _tag, pair = _element(group, _SEQUENCE)
            _tag, identifier = _element(pair, _OBJECT_IDENTIFIER)
            kind, value = _element(pair)
            oid = identifier.take(identifier.left).hex()
            pairs.append(f"{_ATTRIBUTES.get(oid, oid)}={_text(kind, value.take(value.left))}")
        parts.append("+".join(pairs))
    return ",".join(reversed(parts))


def _text(kind: int, value: bytes) -> str:
    text = value.decode("utf-16-be" if kind == _BMP_STRING else "utf-8", "backslashreplace")
    return "".join("\\" + each if each in ',+"\\<>;' else each for each in text)
