"""The kit on policies that keep the contract: those of the examples, and those that come with the broker."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.builtin.anonymous import AnonymousFactory
from mqttsecure.policy.builtin.ban import BanFactory
from mqttsecure.policy.builtin.block_list import BlockListFactory
from mqttsecure.policy.builtin.client_id import ClientIdFactory
from mqttsecure.policy.builtin.connection_limit import ConnectionLimitFactory
from mqttsecure.policy.builtin.ip_allowlist import IpAllowlistFactory
from mqttsecure.policy.builtin.password_file import PasswordFilePolicyFactory
from mqttsecure.policy.builtin.payload import PayloadFactory
from mqttsecure.policy.builtin.quota import QuotaFactory
from mqttsecure.policy.builtin.rate_limit import RateLimitFactory
from mqttsecure.policy.builtin.schedule import ScheduleFactory
from mqttsecure.policy.builtin.tls_requirements import TlsRequirementsFactory
from mqttsecure.policy.builtin.topic_acl import TopicAclFactory
from mqttsecure.testing.loading import factory_in
from mqttsecure.testing.policy import PolicyKit, TestEnvironment
from tests.policy.builtin.test_rehash import of_mosquitto
from tests.support.process import CHECKOUT

EXAMPLES = CHECKOUT / "examples"


class BuiltInKit(PolicyKit):
    """With fewer decisions: other tests of theirs count what they keep, too."""

    decisions = 2000


class TenantsKitTests(PolicyKit, SynchronousTestCase):
    factory = factory_in(EXAMPLES / "tenants/plugins/tenants.py")
    options = {"tenants": ["acme", "alice"]}
    bad_options = ({"tenants": []}, {"tenants": "acme"}, {})


class BusinessHoursKitTests(PolicyKit, SynchronousTestCase):
    factory = factory_in(EXAMPLES / "business-hours/twisted/plugins/mqttsecure_business_hours.py")
    options = {"timezone": "Europe/Berlin"}
    bad_options = ({"days": ["someday"]},)


class AnonymousKitTests(BuiltInKit, SynchronousTestCase):
    factory = AnonymousFactory()
    options = {"addresses": ["everywhere"], "ignore_password": True}
    bad_options = ({"addresses": []},)


class BanKitTests(BuiltInKit, SynchronousTestCase):
    factory = BanFactory()


class BlockListKitTests(BuiltInKit, SynchronousTestCase):
    factory = BlockListFactory()
    options = {"file": "blocked"}


class ClientIdKitTests(BuiltInKit, SynchronousTestCase):
    factory = ClientIdFactory()
    bad_options = ({"patterns": ["{user"]},)


class ConnectionLimitKitTests(BuiltInKit, SynchronousTestCase):
    factory = ConnectionLimitFactory()


class IpAllowlistKitTests(BuiltInKit, SynchronousTestCase):
    factory = IpAllowlistFactory()
    options = {"permit": ["192.0.2.0/24", "unix"], "deny": ["192.0.2.9"]}
    bad_options = ({"permit": ["192.0.2.0/33"]},)


class PasswordFileKitTests(BuiltInKit, SynchronousTestCase):
    factory = PasswordFilePolicyFactory()
    options = {"file": "users"}
    bad_options = ({"file": "none"}, {})

    def make_environment(self) -> TestEnvironment:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "users").touch(0o600)
        # Of a kind that is verified quickly.
        (folder / "users").write_text(f"alice:{of_mosquitto(b'secret')}\n")
        return TestEnvironment(folder=folder)


class PayloadKitTests(BuiltInKit, SynchronousTestCase):
    factory = PayloadFactory()
    options = {"topics": ["plant/#"], "maximum_bytes": 100, "content_types": ["application/json"]}
    bad_options = ({"topics": ["#/a"], "maximum_bytes": 1},)


class QuotaKitTests(BuiltInKit, SynchronousTestCase):
    factory = QuotaFactory()
    options = {"sessions": 5, "subscriptions": 7, "retained_messages": 3, "queued_bytes": 1000}
    bad_options = ({},)


class RateLimitKitTests(BuiltInKit, SynchronousTestCase):
    factory = RateLimitFactory()
    options = {"messages": "10/second", "bytes": "1KiB/second"}


class ScheduleKitTests(BuiltInKit, SynchronousTestCase):
    factory = ScheduleFactory()
    options = {"time_zone": "Europe/Berlin", "days": ["saturday", "tuesday"], "hours": ["07:00-19:00"]}
    bad_options = ({"time_zone": "Europe/Nowhere"},)


class TlsRequirementsKitTests(BuiltInKit, SynchronousTestCase):
    factory = TlsRequirementsFactory()
    options = {"plaintext": "loopback"}


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
