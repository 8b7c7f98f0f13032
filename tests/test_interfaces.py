"""Tests of the public plugin surface: what third parties build on must not change by accident."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface
from zope.interface.interfaces import IInterface, IMethod
from zope.interface.verify import verifyObject

from mqttsecure import interfaces
from mqttsecure.interfaces import IConnectionObserver, IPolicy, IPolicyFactory
from tests.support.policies import ObservingPolicy, StaticFactory, StaticPolicy

SURFACE = {
    "IPolicyFactory": {
        "interface_version": None,
        "name": None,
        "summary": None,
        "stages": None,
        "options": None,
        "attributes": None,
        "build": "(options, environment)",
    },
    "IPolicy": {"decide": "(request)"},
    "IConnectionObserver": {
        "connection_opened": "(connection)",
        "connection_authenticated": "(connection)",
        "connection_closed": "(connection)",
    },
    "IStrikeObserver": {"struck": "(connection, weight, why)"},
    "IStateKeeper": {"inherit": "(previous)", "save": "()"},
    "IAuthority": {"name": None, "password_file": None, "ca_certificates": None, "crl_files": None},
    "IUsage": {
        "of": "(principal)",
        "has_session": "(principal, namespace, client_id)",
        "has_subscription": "(namespace, client_id, topic_filter)",
        "retained": "(namespace, topic)",
    },
    "IPolicyEnvironment": {
        "policy_id": None,
        "clock": None,
        "log": None,
        "authorities": None,
        "listeners": None,
        "usage": None,
        "wall_clock": "()",
        "random_bytes": "(count)",
        "resolve": "(path)",
        "source": "(option=None, index=None)",
        "problem": "(option, text, index=None)",
        "defer_to_thread": "(function, *arguments)",
        "request_rejudging": "(connection_ids=None)",
    },
    "IGrants": {"grants": "(subject)", "names": "()", "advise": "(request)"},
    "IIdentities": {"identities": "()", "decide_assuming": "(request)"},
    "ISessionStore": {
        "on_problem": None,
        "on_recovered": None,
        "open": "()",
        "losses": "()",
        "load_sessions": "(after, limit)",
        "load_entries": "(session, after, limit, octets)",
        "load_incoming": "(session)",
        "highest": "()",
        "commit": "(batch)",
        "close": "()",
    },
    "IRetainedStore": {"load_retained": "(after, limit)"},
}


class InterfaceTests(SynchronousTestCase):
    """The surface of INTERFACE_VERSION 1."""

    def test_surface_of_version_1(self) -> None:
        """A policy written for version 1 finds what version 1 promised; a change needs a new version."""
        self.assertEqual(interfaces.INTERFACE_VERSION, 1)
        found = {
            name: {
                key: element.getSignatureString() if IMethod.providedBy(element) else None
                for key, element in value.namesAndDescriptions(all=True)
            }
            for name, value in vars(interfaces).items()
            if IInterface.providedBy(value) and value is not Interface
        }
        self.assertEqual(found, SURFACE)

    def test_everything_named_is_there(self) -> None:
        """What a policy needs can be imported from one module."""
        for name in interfaces.__all__:
            self.assertTrue(hasattr(interfaces, name), name)

    def test_everything_is_documented(self) -> None:
        """Each interface and each of its members says what it is."""
        for name in SURFACE:
            interface = getattr(interfaces, name)
            self.assertTrue(interface.__doc__)
            for key, element in interface.namesAndDescriptions():
                self.assertTrue(element.getDoc() if IMethod.providedBy(element) else element.__name__, f"{name}.{key}")

    def test_test_policies_keep_to_it(self) -> None:
        """The policies that other tests use are policies."""
        self.assertTrue(verifyObject(IPolicyFactory, StaticFactory()))
        self.assertTrue(verifyObject(IPolicy, StaticPolicy(None)))
        self.assertTrue(verifyObject(IConnectionObserver, ObservingPolicy()))
