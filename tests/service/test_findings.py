"""Tests for mqttsecure.service.findings and mends: causes out of records, the most probable first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Source
from mqttsecure.policy.builtin.factory import BuiltinFactory
from mqttsecure.service.config import BrokerConfig, read_config
from mqttsecure.service.findings import Findings, find_causes
from mqttsecure.service.live_findings import Live
from mqttsecure.service.mends import mend_of_denial
from tests.support.config import write_config
from twisted.plugins import mqttsecure_policies

NOW = datetime(2026, 11, 23, 3, 0, 0, tzinfo=UTC)


def at(minutes_ago: float) -> str:
    return (NOW - timedelta(minutes=minutes_ago)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(kind: str, minutes_ago: float = 1, **more: Any) -> dict[str, Any]:
    return {"v": 1, "time": at(minutes_ago), "kind": "event", "event": kind, "peer": "192.0.2.7:1", **more}


def denial(stage: str, minutes_ago: float = 1, **more: Any) -> dict[str, Any]:
    record = {"v": 1, "time": at(minutes_ago), "stage": stage, "purpose": "live", "effect": "deny", "listener": "tls"}
    return record | {"peer": "192.0.2.7:1", "decision": "x-1", "client_id": "pump-7", **more}


def client(**more: Any) -> dict[str, Any]:
    quiet = {"queued_messages": 0, "certificate_days_left": None, "throttled": False, "outbox_full_seconds": None}
    return {"client_id": "pump-7", "peer": "192.0.2.7:9", "connected": True, "connected_seconds": 60.0, **quiet, **more}


def unheard(topic: str, seconds_ago: float, *, heard_now: bool = False) -> dict[str, Any]:
    times = {"first_seconds_ago": seconds_ago + 10, "last_seconds_ago": seconds_ago}
    return {"client_id": "pump-7", "topic": topic, "heard_now": heard_now, **times}


class FindingsTests(SynchronousTestCase):
    """What comes first, what helps, and what is over."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.config: BrokerConfig = read_config(write_config(folder).config)[0]

    def find(self, *records: Any, who: str = "pump-7", live: list[dict[str, Any]] | None = None) -> Findings:
        return find_causes(who, NOW - timedelta(hours=1), NOW, records, Live(live or []), self.config, None)

    def kinds(self, *records: Any, **more: Any) -> list[tuple[str, bool]]:
        return [(each.kind, each.weight == 0) for each in self.find(*records, **more).causes]

    def test_order(self) -> None:
        """What keeps a client out, then what it is refused, then what is lost; of the same the latest first."""
        found = self.find(
            event("disconnect", client_id="pump-7", text="connection lost"),
            event("drop", client_id="pump-7", text="its queue is full"),
            denial("PUBLISH", action="publish", topic="t", policy="topics"),
            denial("AUTHENTICATE", 9, policy="password", text="the password is wrong", username="pump"),
            denial("CONNECT", 5, policy="client-ids", text="no"),
        )
        self.assertEqual([each.kind for each in found.causes], ["denial", "denial", "denial", "drop", "disconnect"])
        self.assertIn("denied CONNECT by client-ids", found.causes[0].cause)
        self.assertIn("mqttsecure passwd", found.causes[1].mend)

    def test_counted(self) -> None:
        """The same again is one cause, with the first and the last time."""
        (cause,) = self.find(denial("CONNECT", 9), denial("CONNECT", 2), denial("CONNECT", 700)).causes
        self.assertEqual((cause.count, cause.first, cause.last), (2, at(9), at(2)))

    def test_over(self) -> None:
        """Who has come in since is not kept out; what it is refused now still counts."""
        records = [denial("CONNECT", 9), denial("PUBLISH", 9, action="publish", topic="t")]
        self.assertEqual(self.kinds(*records, live=[client()]), [("denial", False), ("denial", True)])
        self.assertEqual(
            self.kinds(*records, live=[client(connected_seconds=3600.0)]), [("denial", False), ("denial", False)]
        )

    def test_from_its_address(self) -> None:
        """What a stranger met who came from the same address may be the client's, and is told as that."""
        known = event("disconnect", 30, client_id="pump-7", text="connection lost")
        near, far = event("tls_failure", text="x"), event("tls_failure", peer="192.0.2.8:1", text="y")
        found = self.find(known, near, far)
        self.assertEqual(
            [(each.kind, each.sure) for each in found.causes], [("disconnect", True), ("tls_failure", False)]
        )
        self.assertEqual([each.sure for each in self.find(near, who="192.0.2.7").causes], [True])

    def test_live(self) -> None:
        """What the broker sees now."""
        found = self.find(
            live=[
                client(throttled=True, outbox_full_seconds=3.0, certificate_days_left=5.0),
                client(client_id="pump-8", connected=False, queued_messages=4, certificate_days_left=-1.0),
            ]
        )
        self.assertEqual(
            [each.kind for each in found.causes],
            ["certificate", "throttle", "slow", "away", "certificate"],
        )
        self.assertTrue(found.seen)

    def test_unheard(self) -> None:
        """A topic without a subscriber, of a client that may be gone; what is heard by now is over."""
        told = [unheard("a/b", 60), unheard("old", 7200), unheard("c", 30, heard_now=True)]
        found = find_causes("pump-7", NOW - timedelta(hours=1), NOW, [], Live(unheard=told), self.config, None)
        self.assertTrue(found.seen)
        self.assertEqual(
            [(each.kind, each.weight == 0) for each in found.causes], [("unheard", False), ("unheard", True)]
        )
        self.assertIn("'pump-7' published to 'a/b'", found.causes[0].cause)
        self.assertEqual((found.causes[0].last, found.causes[0].first), (at(1), at(70 / 60)))

    def test_kept_out(self) -> None:
        """A ban, a wait and a block come first, each with the command that ends it."""
        told: list[dict[str, Any]] = [
            {"kind": "ban", "name": "192.0.2.0/24", "until": None, "why": "by hand (scans)", "source": "broker.toml:7"},
            {"kind": "wait", "name": "192.0.2.7", "until": None, "why": "x failed too often", "seconds": 4.2},
            {"kind": "user", "name": "lab:pump", "until": "2026-11-24T00:00:00+00:00", "why": ""},
            {"kind": "client", "name": "pump 7", "until": None, "why": "stolen"},
        ]  # fmt: skip
        told = [{"source": None} | each for each in told]
        found = find_causes("pump-7", NOW - timedelta(hours=1), NOW, [], Live(kept_out=told), self.config, None).causes
        for finding, cause, command in zip(
            found,
            (
                "the address 192.0.2.0/24 is banned until that is lifted: by hand (scans)",
                "x failed too often, and has to wait for 4 s",
                "the user 'lab:pump' is blocked until 2026-11-24T00:00:00+00:00",
                "the client 'pump 7' is blocked until that is lifted: stolen",
            ),
            (
                "bans remove 192.0.2.0/24",
                "bans remove 192.0.2.7",
                "clients unblock --user lab:pump",
                "clients unblock 'pump 7'",
            ),
            strict=True,
        ):
            self.assertEqual(finding.cause, cause)
            self.assertIn(f"mqttsecure {command} --config {self.config.path}", finding.mend)
        self.assertEqual(found[0].source, "broker.toml:7")

    def test_denials_of_bans_and_blocks(self) -> None:
        """Also out of the log alone there is a command to type."""
        bans = '[[policy]]\nid = "bans"\nuse = "ban"\n[[policy]]\nid = "blocked"\nuse = "block-list"\nfile = "b"\n'
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.config = read_config(write_config(folder, extra_policies=bans).config)[0]
        found = self.find(
            denial("CONNECT", 3, policy="bans", rule="wait"),
            denial("CONNECT", 2, policy="blocked", rule="client"),
            denial("AUTHENTICATE", 1, policy="blocked", rule="user", principal="lab:pump"),
        ).causes
        for cause, words in zip(
            found, ("unblock --user lab:pump --config", "unblock pump-7 --config", "bans remove 192.0.2.7 --config"),
            strict=True,
        ):  # fmt: skip
            self.assertIn(words, cause.mend)
        (cause,) = self.find(denial("ACCEPT", policy="bans", peer="[2001:db8::7]:1"), who="2001:db8::7").causes
        self.assertIn("bans remove 2001:db8::7 --config", cause.mend)

    def test_every_built_in_policy_that_denies_has_a_mend(self) -> None:
        """Nobody is sent away with the text of the denial alone."""
        names = [each.name for each in vars(mqttsecure_policies).values() if isinstance(each, BuiltinFactory)]
        self.assertGreater(len(names), 15)
        for name in names:
            table = replace(self.config.policies[0], id="p", use=name, options={}, source=Source("broker.toml", 7))
            config = replace(self.config, policies=(table,))
            for rule in ("exp", "proof", "channel_binding", "service", "sessions", ""):
                record = denial("CONNECT", policy="p", rule=rule, text="no", username="pump", principal="lab:pump")
                self.assertFalse(mend_of_denial(record, config).startswith("see no"), name)

    def test_certificate_of_the_log(self) -> None:
        """One that was refused long since, and one that will be soon."""
        for days, word in ((-2, "has been out of date for 2.0 days"), (3, "is out of date in 3.0 days")):
            expires = (NOW + timedelta(days=days)).isoformat()
            certificate = {"subject": "OU=pumps,CN=pump-7", "expires": expires}
            found = self.find(event("tls_failure", text="x", certificate=certificate))
            self.assertTrue(any(word in each.cause for each in found.causes), found.causes)
        self.assertEqual(self.find(event("tls_failure", certificate={"subject": "CN=pump-77"})).causes, [])

    def test_mends(self) -> None:
        """Each kind of trouble has its own advice."""
        cases = {
            "does not trust the CA of the broker": event("tls_failure", text="... tlsv1 alert unknown ca"),
            "shows no certificate": event("tls_failure", text="peer did not return a certificate"),
            "does not speak TLS here": event("tls_failure", text="wrong version number"),
            "openssl s_client": event("tls_failure", text="something new"),
            "two clients use one Client Identifier": event("disconnect", reason_code=0x8E, text="taken over"),
            "the network is gone": event("disconnect", reason_code=0x8D, text="no packet"),
            "see the log": event("disconnect", reason_code=0x91, text="?"),
            "look at its log": event("disconnect", reason_code=0x04, by_peer=True, text="disconnected"),
            "a longer": event("disconnect", reason_code=0x8D, text="no packet"),
            "announced a Maximum Packet Size": event("drop", text="larger than its Maximum Packet Size"),
            "`outbox_bytes`": event("drop", text="reads too slowly, QoS 0 messages are lost"),
            "raise `maximum_queued_bytes`": event("drop", text="its queue is full"),
            "`timeout_ms`": event("drop", text="waits for too many verdicts"),
            "raise the rate": event("throttle", text="sends more than it may"),
            "add the address to `permit`": denial("ACCEPT"),
            "narrow `deny` of addresses": denial("ACCEPT", policy="addresses"),
            "raise `per_address` of connections": denial("ACCEPT", policy="connections", rule="per_address"),
            "use TLS": denial("HANDSHAKE", policy="handshake", rule="plaintext"),
            "change `minimum_version`": denial("HANDSHAKE", policy="handshake", rule="minimum_version"),
            "certificate that is taken": denial("AUTHENTICATE", policy="certificate"),
            "or add the user": denial("AUTHENTICATE", policy="password", text="there is no such user", username="a;b"),
            "passwd": denial("AUTHENTICATE", policy="password", text="the password is wrong", username="bob"),
            "that fits *": denial("AUTHENTICATE", policy="client-ids"),
            "showed no credentials": denial("AUTHENTICATE"),
            "narrow or remove rules[2]": denial("PUBLISH", policy="topics", rule="rules[2]"),
            "add a rule": denial("PUBLISH"),
            "the log has the traceback": denial("PUBLISH", indeterminate=True, policy="x"),
        }
        for expected, record in cases.items():
            (cause,) = self.find(record | {"client_id": "pump-7"}).causes
            self.assertIn(expected, cause.mend)
        (cause,) = self.find(denial("AUTHENTICATE", policy="password", text="no such user", username="a;rm -rf")).causes
        self.assertNotIn(";", cause.mend.rpartition("passwd")[2])

    def test_damaged_records(self) -> None:
        """What makes no sense is passed over."""
        self.assertEqual(
            self.kinds(denial("PUBLISH", reason_code=[]), event("disconnect", client_id="pump-7", reason_code="?")),
            [("denial", False)],
        )
        self.assertEqual(self.find({"v": 1}, {"v": 1, "time": at(1), "peer": 7}, event("news")).causes, [])

    def test_bounded(self) -> None:
        """A client with thousands of different troubles has the latest of them."""
        found = self.find(*(denial("PUBLISH", action="publish", topic=f"t/{number}") for number in range(500)))
        self.assertEqual(len(found.causes), 100)
