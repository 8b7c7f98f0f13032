"""The kit on policies that keep the contract: those of the examples, and some that come with the broker."""

from __future__ import annotations

import runpy
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.builtin.client_id import ClientIdFactory
from mqttsecure.policy.builtin.ip_allowlist import IpAllowlistFactory
from mqttsecure.policy.builtin.topic_acl import TopicAclFactory
from mqttsecure.testing.policy import PolicyKit
from tests.support.process import CHECKOUT

EXAMPLES = CHECKOUT / "examples"


def factory_in(file: str) -> Any:
    """The factory of a single file."""
    return runpy.run_path(str(EXAMPLES / file))["factory"]


class TenantsKitTests(PolicyKit, SynchronousTestCase):
    factory = factory_in("tenants/plugins/tenants.py")
    options = {"tenants": ["acme", "alice"]}
    bad_options = ({"tenants": []}, {"tenants": "acme"}, {})


class BusinessHoursKitTests(PolicyKit, SynchronousTestCase):
    factory = factory_in("business-hours/twisted/plugins/mqttsecure_business_hours.py")
    options = {"timezone": "Europe/Berlin"}
    bad_options = ({"days": ["someday"]},)


class TopicAclKitTests(PolicyKit, SynchronousTestCase):
    factory = TopicAclFactory()
    options = {
        "rules": [
            "permit user:alice publish,read plant/#",
            "permit everyone read people/{user}/# where qos<=1",
            "deny everyone read plant/+/secret unless size<=10",
        ]
    }
    bad_options = ({"rules": ["permit nobody read #"]}, {"rules": []})


class ClientIdKitTests(PolicyKit, SynchronousTestCase):
    factory = ClientIdFactory()


class IpAllowlistKitTests(PolicyKit, SynchronousTestCase):
    factory = IpAllowlistFactory()
    options = {"permit": ["192.0.2.0/24", "unix"], "deny": ["192.0.2.9"]}
    bad_options = ({"permit": ["192.0.2.0/33"]},)
