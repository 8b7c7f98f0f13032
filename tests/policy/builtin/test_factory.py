"""Tests for mqttsecure.policy.builtin.factory and the plugin file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import mqttsecure
from mqttsecure.core.decisions import Role, Stage
from mqttsecure.interfaces import IPolicy, IPolicyFactory
from mqttsecure.policy.builtin.factory import BuiltinFactory
from mqttsecure.policy.builtin.ip_allowlist import IpAllowlistOptions
from tests.support.environment import FakeEnvironment
from twisted.plugins import mqttsecure_policies

FACTORIES = [each for each in vars(mqttsecure_policies).values() if isinstance(each, BuiltinFactory)]


class BuiltinFactoryTests(SynchronousTestCase):
    """The factories as the plugin loader finds them."""

    def test_shows_all_policies(self) -> None:
        """The built-in policies are there under their names."""
        names = (
            "ip-allowlist ban connection-limit tls-requirements client-id password-file scram client-certificate jwt "
            "http anonymous block-list topic-acl schedule payload quota rate-limit"
        )
        self.assertEqual([factory.name for factory in FACTORIES], names.split())

    def test_they_are_whole_factories(self) -> None:
        """Each gives what the interface asks, and its proper factory the same name."""
        for factory in FACTORIES:
            verifyObject(IPolicyFactory, factory)
            verifyObject(IPolicyFactory, factory.factory)
            verifyObject(IPlugin, factory)
            self.assertEqual(factory.name, factory.factory.name)
            self.assertTrue(factory.summary)
            self.assertTrue(all(isinstance(kind, type) for kind in factory.attributes.values()))
            self.assertIn(factory.name, repr(factory))

    def test_each_stage_can_be_permitted(self) -> None:
        """At each stage of the chain one of them can grant, so a whole broker needs no other."""
        granted = {stage for factory in FACTORIES for stage, role in factory.stages.items() if role is Role.GRANTS}
        self.assertEqual(granted, set(Stage))

    def test_builds_policies(self) -> None:
        """The stand-in builds what its factory builds."""
        policy = FACTORIES[0].build(IpAllowlistOptions(permit=["unix"]), FakeEnvironment())
        verifyObject(IPolicy, policy)

    def test_a_broken_module_raises(self) -> None:
        """A policy whose module cannot be imported fails aloud, it is not taken for missing."""
        self.assertRaises(ImportError, lambda: BuiltinFactory("x", "no_such_module:X").summary)
        self.assertRaises(AttributeError, lambda: BuiltinFactory("x", "ip_allowlist:NoSuch").factory)

    def test_the_plugin_file_imports_little(self) -> None:
        """twistd --help does not load the cryptography of policies that nobody asked for."""
        code = (
            "import sys, twisted.plugins.mqttsecure_policies as policies;"
            "print('argon2' in sys.modules, 'cryptography' in sys.modules, policies.topic_acl.name)"
        )
        root = str(Path(mqttsecure.__file__).parents[1])
        output = subprocess.check_output([sys.executable, "-c", code], cwd=root, env={"PYTHONPATH": root}, text=True)
        self.assertEqual(output.split(), ["False", "False", "topic-acl"])
