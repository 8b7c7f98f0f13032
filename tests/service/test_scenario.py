# -*- test-case-name: tests.service.test_scenario -*-
"""A client that might come, put to the chain of a real configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial import unittest

from mqttsecure.core.decisions import Principal, Stage
from mqttsecure.errors import ConfigError
from mqttsecure.policy.trace import Outcome
from mqttsecure.service.assembly import Assembly, check
from mqttsecure.service.assumed_certificate import assumed_chain
from mqttsecure.service.config import load_config
from mqttsecure.service.scenario import Scenario, Trial, judge, parse_peer, unsettled
from tests.support.config import write_config


class ScenarioCase(unittest.SynchronousTestCase):
    """Writes configurations and asks them."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def assembly(self, **more: Any) -> Assembly:
        return check(load_config(write_config(self.directory, **more).config))

    def judge(self, assembly: Assembly, action: str, topic: str = "", **more: Any) -> Trial:
        return judge(assembly, Scenario(action, topic, **more))


class ScenarioTests(ScenarioCase):
    """Stage by stage."""

    def test_user(self) -> None:
        """The password is taken to be right; groups come from the file."""
        assembly = self.assembly(groups={"alice": ["admins"]})
        trial = self.judge(assembly, "publish", "lab/1", username="alice", client_id="a", peer=parse_peer("127.0.0.1"))
        self.assertIs(trial.outcome, Outcome.PROVIDED)
        self.assertEqual(trial.conditions, ((Stage.ACCEPT, "connections"),))
        self.assertEqual(unsettled(assembly, trial), set())
        self.assertEqual([each.stage for each in trial.stages], [*list(Stage)[:4], Stage.PUBLISH])
        self.assertEqual((str(trial.facts.principal), trial.facts.groups), ("lab:alice", {"admins"}))
        self.assertTrue(any("password of 'alice'" in text for text in trial.assumed))

    def test_unknown_user(self) -> None:
        """Is refused with the stage's own Reason Code, and nothing behind it is asked."""
        trial = self.judge(self.assembly(), "publish", "lab/1", username="ghost")
        self.assertEqual((trial.outcome, trial.last.stage), (Outcome.DENY, Stage.AUTHENTICATE))
        self.assertEqual((trial.last.decider, trial.last.verdict.reason_code), ("password", 0x86))

    def test_certificate(self) -> None:
        """Made up as its authority might issue it, and judged as a real one."""
        assembly = self.assembly(rules=["permit group:pumps publish plant/{client}/#"])
        chain = assumed_chain("pump-7", ("pumps",), assembly.authorities["lab"])
        trial = self.judge(assembly, "publish", "plant/pump-7/a", chain=chain, client_id="pump-7")
        self.assertIs(trial.outcome, Outcome.PERMIT)
        self.assertEqual((str(trial.facts.principal), trial.facts.groups), ("lab:pump-7", {"pumps"}))

    def test_principal(self) -> None:
        """Who it is can be given; its known groups count, and more can be added."""
        assembly = self.assembly(groups={"alice": ["admins"]})
        trial = self.judge(
            assembly, "subscribe", "$SYS/#", principal=Principal("lab", "alice"), groups=frozenset({"more"})
        )
        self.assertEqual((trial.outcome, trial.facts.groups), (Outcome.PERMIT, {"admins", "more"}))
        self.assertEqual([stage for stage, _ in trial.skipped], [Stage.ACCEPT, Stage.HANDSHAKE, Stage.CONNECT])
        self.assertIn("groups: more", trial.assumed)
        trial = self.judge(assembly, "receive", "lab/1", principal=Principal("other", "bob"))
        self.assertIs(trial.outcome, Outcome.DENY)

    def test_principal_of_nobody(self) -> None:
        """That nobody can be it is told."""
        assembly = self.assembly(policies=_PASSWORDS_ONLY)
        trial = self.judge(assembly, "receive", "lab/1", principal=Principal("lab", "ghost"))
        self.assertTrue(any("no identity policy here knows" in text for text in trial.assumed))

    def test_anonymous(self) -> None:
        """Without any credential."""
        trial = self.judge(self.assembly(), "connect", peer=parse_peer("127.0.0.1"), client_id="x")
        self.assertEqual((trial.outcome, trial.last.stage), (Outcome.DENY, Stage.AUTHENTICATE))

    def test_address(self) -> None:
        """Refused before anything else is looked at."""
        trial = self.judge(self.assembly(), "publish", "lab/1", username="alice", peer=parse_peer("192.0.2.1"))
        self.assertEqual((trial.outcome, trial.last.stage), (Outcome.DENY, Stage.ACCEPT))

    def test_identity_that_only_the_running_broker_knows(self) -> None:
        """Then what the client may do is not judged, and that is told."""
        plugins = self.directory / "plugins"
        plugins.mkdir()
        (plugins / "token.py").write_text(_TOKEN)
        token = '[[policy]]\nid = "token"\nuse = "local:token"\n'
        assembly = self.assembly(extra_policies=token, extra='[plugins]\npath = ["plugins"]\n')
        trial = self.judge(assembly, "publish", "lab/1")
        self.assertEqual((trial.outcome, trial.conditions), (Outcome.PROVIDED, ((Stage.AUTHENTICATE, "token"),)))
        self.assertIn(Stage.PUBLISH, dict(trial.skipped))
        self.assertEqual(unsettled(assembly, trial), {"token"})

    def test_shared_subscription(self) -> None:
        """Is judged by the filter inside."""
        trial = self.judge(self.assembly(), "subscribe", "$share/g/lab/1/#", username="alice")
        self.assertIs(trial.outcome, Outcome.PERMIT)
        self.assertEqual((trial.last.request.topic, trial.last.request.share_group), ("lab/1/#", "g"))

    def test_advice(self) -> None:
        """A denial comes with the rule that is missing."""
        trial = self.judge(self.assembly(), "publish", "lab/1", username="bob")
        self.assertEqual(trial.advice["topics"].add, "permit user:bob publish lab/1")

    def test_makes_no_sense(self) -> None:
        """What cannot come is told as such."""
        assembly = self.assembly(plaintext=True)
        chain = assumed_chain("x", (), assembly.authorities["lab"])
        for scenario in (
            Scenario("publish", "lab/1"),  # there are two listeners
            Scenario("publish", "lab/1", listener="tsl"),
            Scenario("fly", listener="tls"),
            Scenario("publish", "lab/#", listener="tls"),
            Scenario("subscribe", "lab/#/x", listener="tls"),
            Scenario("publish", "a", listener="tls", username="a", principal=Principal("lab", "a")),
            Scenario("connect", listener="plain", chain=chain),
            Scenario("connect", listener="plain", tls_version="TLSv1.2"),
        ):
            self.assertRaises(ConfigError, judge, assembly, scenario)

    def test_listeners_that_demand_or_ask_for_no_certificate(self) -> None:
        """Fail in the handshake, before any policy."""
        demanding = self.assembly(client_certificate="required")
        self.assertRaises(ConfigError, self.judge, demanding, "publish", "lab/1", username="alice")
        self.assertIs(
            self.judge(demanding, "publish", "lab/1", principal=Principal("lab", "alice")).outcome, Outcome.PERMIT
        )
        chain = assumed_chain("x", (), demanding.authorities["lab"])
        none = self.assembly(client_certificate="none")
        self.assertRaises(ConfigError, self.judge, none, "publish", "lab/1", chain=chain)

    def test_older_tls(self) -> None:
        """What a client speaks can be said."""
        trial = self.judge(self.assembly(), "connect", username="alice", tls_version="TLSv1.2", cipher="AES128-SHA")
        self.assertEqual((trial.outcome, trial.last.verdict.rule), (Outcome.DENY, "forward_secrecy"))


class PeerTests(unittest.SynchronousTestCase):
    """Addresses as they are typed."""

    def test_addresses(self) -> None:
        """IP of both kinds, mapped ones unwrapped, and Unix sockets."""
        self.assertEqual(str(parse_peer("::ffff:192.0.2.1").address), "192.0.2.1")
        self.assertEqual((parse_peer("unix").uid, parse_peer("unix:1000").uid), (None, 1000))
        for text in ("192.0.2", "host", "unix:root", ""):
            self.assertRaises(ValueError, parse_peer, text)


_PASSWORDS_ONLY = """
[[policy]]
id = "open"
use = "ip-allowlist"
permit = ["everywhere"]

[[policy]]
id = "tls"
use = "tls-requirements"

[[policy]]
id = "ids"
use = "client-id"
patterns = ["*"]

[[policy]]
id = "password"
use = "password-file"
authority = "lab"

[[policy]]
id = "topics"
use = "topic-acl"
rules = ["permit user:alice read lab/#"]
"""

_TOKEN = """
from pydantic import BaseModel
from zope.interface import implementer
from mqttsecure.interfaces import INTERFACE_VERSION, Decision, IPolicy, IPolicyFactory, Role, Stage

class Options(BaseModel):
    pass

@implementer(IPolicy)
class Token:
    def decide(self, request):
        raise AssertionError("must not be asked")

@implementer(IPolicyFactory)
class Factory:
    interface_version = INTERFACE_VERSION
    name = "token"
    summary = "tokens"
    stages = {Stage.AUTHENTICATE: Role.GRANTS}
    options = Options
    attributes = {}
    def build(self, options, environment):
        return Token()

factory = Factory()
"""
