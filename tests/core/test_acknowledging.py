# -*- test-case-name: tests.core.test_acknowledging -*-
"""PUBACK, PUBREC, PUBREL and PUBCOMP from clients: in turn, out of turn, unknown, refusing."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.wire.packets import Packet, Puback, Pubcomp, Pubrec, Pubrel
from tests.support.core import Bench, Client


class AcknowledgingTests(SynchronousTestCase):
    """The flows of QoS 1 and 2 towards a client."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.writer = self.bench.connected("writer")

    def reader(self, version: int = 5, **connect: object) -> Client:
        reader = self.bench.connected(f"reader{len(self.bench.clients)}", version, **connect)
        reader.subscribe("t", qos=2)
        return reader

    def inflight(self, reader: Client) -> list[int]:
        session = reader.connection.session
        assert session is not None
        return list(session.inflight)

    def test_qos_1(self) -> None:
        """PUBACK settles, with or without a Reason Code, success or not."""
        reader = self.reader()
        for answer in (Puback(1), Puback(2, 0x80), Puback(3, 0, {"reason_string": "thanks"})):
            self.writer.publish("t", qos=1)
            reader.send(answer)
            self.assertEqual(self.inflight(reader), [])

    def test_qos_2(self) -> None:
        """PUBREC is answered by PUBREL, again if it comes again, and PUBCOMP settles."""
        for version in (3, 4, 5):
            reader = self.reader(version)
            self.writer.publish("t", qos=2)
            reader.received()
            reader.send(Pubrec(1), Pubrec(1))
            self.assertEqual(reader.received(), [Pubrel(1), Pubrel(1)])
            reader.send(Pubcomp(1))
            self.assertEqual(self.inflight(reader), [])
            reader.disconnect()

    def test_qos_2_refused(self) -> None:
        """A PUBREC that refuses ends the flow, even when the message had been released."""
        reader = self.reader(receive_maximum=1)
        for number in range(3):
            self.writer.publish("t", b"%d" % number, qos=2)
        reader.received()
        reader.send(Pubrec(1, 0x97))
        self.assertEqual([each.packet_id for each in reader.messages()], [2])
        reader.send(Pubrec(2))
        reader.send(Pubrec(2, 0x91))
        self.assertEqual([each.packet_id for each in reader.messages()], [3])

    def test_unknown(self) -> None:
        """Unknown identifiers are answered where there is an answer, with 0x92 in 5.0, and harm nobody."""
        for version, code in ((5, 0x92), (4, 0), (3, 0)):
            reader = self.reader(version)
            cases: list[tuple[Packet, list[Packet]]] = [
                (Puback(9), []),
                (Pubrec(9), [Pubrel(9, code)]),
                (Pubrel(9), [Pubcomp(9, code)]),
                (Pubcomp(9), []),
            ]
            if version == 5:
                cases += [(Pubrec(9, 0x80), []), (Puback(9, 0x80), []), (Pubcomp(9, 0x92), [])]
            for sent, answers in cases:
                reader.send(sent)
                self.assertEqual(reader.received(), answers)
            self.assertFalse(reader.closed)
            reader.disconnect()

    def test_wrong_kind(self) -> None:
        """An acknowledgement of the wrong kind is a Protocol Error."""
        for qos, before, sent in (
            (1, [], Pubrec(1)),
            (1, [], Pubcomp(1)),
            (2, [], Puback(1)),
            (2, [], Puback(1, 0x80)),
            (2, [], Pubcomp(1)),
            (2, [Pubrec(1)], Puback(1)),
            (2, [Pubrec(1)], Puback(1, 0x80)),
        ):
            reader = self.reader()
            self.writer.publish("t", qos=qos)
            reader.send(*before, sent)
            self.assertEqual((reader.closed, reader.goodbye), (True, 0x82))

    def test_identifier_0(self) -> None:
        """Packet Identifier 0 does not exist."""
        for data in (b"\x40\x02\x00\x00", b"\x50\x02\x00\x00", b"\x62\x02\x00\x00", b"\x70\x02\x00\x00"):
            reader = self.reader()
            reader.send_bytes(data)
            self.assertEqual(reader.goodbye, 0x82)

    def test_twice(self) -> None:
        """A second PUBACK for the same message is ignored and gains nothing."""
        reader = self.reader(receive_maximum=2)
        for _ in range(5):
            self.writer.publish("t", qos=1)
        reader.received()
        reader.send(Puback(1), Puback(1), Puback(1), Puback(9))
        self.assertEqual(len(reader.messages()), 1)
