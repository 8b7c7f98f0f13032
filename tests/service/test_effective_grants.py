"""Tests for mqttsecure.service.effective_grants: what a client may do, in its own names."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import ConnectionFacts, Decision, Peer, Principal, Role, Stage
from mqttsecure.service.assembly import check
from mqttsecure.service.config import load_config
from mqttsecure.service.effective_grants import effective_grants
from tests.support.config import write_config
from tests.support.policies import StaticPolicy, bind

RULES = [
    "permit user:alice publish,read lab/{client}/#",
    "permit group:sensors publish plant/# where qos<=1 retain=no",
    "permit group:admins publish admin/#",
    "deny everyone read lab/secret/#",
    "permit user:bob publish bob/#",
    "permit everyone publish kept/# where retain=yes",
    "permit user:alice subscribe few/# where qos<=1",
]


class EffectiveGrantsTests(SynchronousTestCase):
    """An administrator looks at one client."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.bindings = check(load_config(write_config(folder, rules=RULES).config)).chain.bindings

    def lines(self, name: str = "alice", listener: str = "tls", groups: frozenset[str] = frozenset()) -> list[str]:
        facts = ConnectionFacts(
            1,
            listener,
            Peer(ip_address("127.0.0.1"), 1),
            client_id="a-1",
            principal=Principal("lab", name),
            groups=groups,
        )
        return [each.rpartition(" [")[0] for each in effective_grants(self.bindings, facts)]

    def test_rules_that_concern_it(self) -> None:
        """Its own, its groups' and everyone's, with its Client Identifier in them, and for which messages."""
        self.assertEqual(
            self.lines(groups=frozenset({"sensors"})),
            [
                "topics: permit publish,subscribe,receive lab/a-1/#",
                "topics: permit publish plant/# where qos 0 or 1 retain=no",
                "topics: deny subscribe,receive lab/secret/#",
                "topics: permit publish kept/# where retain=yes",
                "topics: permit subscribe few/# where qos 0 or 1",
            ],
        )

    def test_others(self) -> None:
        """Who has no rules of its own has everyone's; of a listener without policies there are none."""
        self.assertEqual(
            self.lines("carol"),
            ["topics: deny subscribe,receive lab/secret/#", "topics: permit publish kept/# where retain=yes"],
        )
        self.assertEqual(self.lines(listener="other"), [])

    def test_policy_that_has_to_be_asked(self) -> None:
        """A service that decides elsewhere is named, so that nobody takes the list for all."""
        other = bind(StaticPolicy(Decision.abstain()), "service", on=("tls",), stages={Stage.PUBLISH: Role.GRANTS})
        facts = ConnectionFacts(1, "tls", Peer(None), principal=Principal("lab", "alice"))
        self.assertEqual(effective_grants([other], facts), ["service: has to be asked about each topic"])

    def test_nobody_yet(self) -> None:
        """Before it is known who the client is, nothing is granted."""
        self.assertEqual(effective_grants(self.bindings, ConnectionFacts(1, "tls", Peer(None))), [])
