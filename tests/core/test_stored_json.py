"""What is known of clients and writers, there and back."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import ConnectionFacts, Peer, Principal, TlsFacts, Writer
from mqttsecure.core.stored_json import (
    facts_from_json,
    facts_to_json,
    will_from_json,
    will_to_json,
    writer_from_json,
    writer_to_json,
)
from mqttsecure.wire.packets import Will

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.frozensets(st.text())
        | st.dictionaries(st.text(), inner)
        | st.just(ip_address("2001:db8::1"))
    ),
    max_leaves=8,
)
_ATTRIBUTES = st.dictionaries(st.text(), _VALUES)


def _facts(**more: Any) -> ConnectionFacts:
    return ConnectionFacts(
        7, "tls", Peer(ip_address("192.0.2.1"), 1234), principal=Principal("lab", "alice"), username="alice", **more
    )


class StoredJsonTests(SynchronousTestCase):
    """JSON for what has none."""

    @given(_ATTRIBUTES, st.frozensets(st.text()))
    def test_writer(self, attributes: dict[str, Any], groups: frozenset[str]) -> None:
        """Whatever attributes of known types it has, a writer comes back as it was."""
        writer = Writer(Principal("lab", "alice"), "a1", groups, attributes, "tls")
        self.assertEqual(writer_from_json(writer_to_json(writer)), writer)

    def test_equal_writers_are_spelled_alike(self) -> None:
        """So that one row is enough for them."""
        one = Writer(Principal("lab", "a"), "c", frozenset({"x", "y"}), {"m": 1, "n": frozenset({"p", "q"})}, "tls")
        other = Writer(Principal("lab", "a"), "c", frozenset({"y", "x"}), {"n": frozenset({"q", "p"}), "m": 1}, "tls")
        self.assertEqual(writer_to_json(one), writer_to_json(other))

    def test_unknown_type(self) -> None:
        """A value of a type of a policy's own becomes one that no rule ever meets."""
        writer = Writer(Principal("lab", "a"), attributes={"odd": object(), "even": 2})
        self.assertEqual(writer_from_json(writer_to_json(writer)).attributes, {"odd": "\0", "even": 2})

    def test_facts(self) -> None:
        """All that policies may ask about a client that is away; no connection, no evidence of this process."""
        tls = TlsFacts("TLSv1.3", "TLS_AES_128_GCM_SHA256", "lab", "mqtt", b"der", (b"der", b"ca"))
        facts = _facts(
            tls=tls, protocol_version=5, client_id="a1", keep_alive=60, groups=frozenset({"g"}), attributes={"t": "x"}
        )
        back = facts_from_json(facts_to_json(facts))
        for name in ("listener", "peer", "tls", "protocol_version", "client_id", "keep_alive", "principal", "username"):
            self.assertEqual(getattr(back, name), getattr(facts, name), name)
        self.assertEqual((back.groups, back.attributes), (facts.groups, facts.attributes))
        self.assertEqual((back.connection_id, back.evidence), (0, ()))

    def test_unix_peer(self) -> None:
        """A peer without an address, and no TLS."""
        facts = ConnectionFacts(1, "local", Peer(None, uid=1000))
        self.assertEqual(facts_from_json(facts_to_json(facts)).peer, facts.peer)

    def test_will(self) -> None:
        """A will comes back with its properties as the wire wants them."""
        properties: Any = {
            "will_delay_interval": 5,
            "correlation_data": b"\x00\xff",
            "user_property": [("a", "b"), ("a", "c")],
            "content_type": "x",
        }
        will = Will("t", b"\x00\xff", 1, True, properties)
        writer = Writer(Principal("lab", "alice"), "a1")
        back, by, facts = will_from_json(will_to_json(will, writer, _facts(client_id="a1")))
        self.assertEqual((back, by, facts.client_id), (will, writer, "a1"))

    def test_no_password(self) -> None:
        """There is none in facts, and so none in what is kept of them."""
        self.assertNotIn(b"password", facts_to_json(_facts()))
