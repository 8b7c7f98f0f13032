"""`examples/tenants`, its policy copied as it is, on a broker that is really started."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from mqttsecure.wire.packets import Disconnect
from tests.support.config import write_config
from tests.support.process import CHECKOUT, BrokerProcess
from tests.system.attacks.case import allow_many_connections, wait_until
from tests.system.attacks.client import AttackClient

_USERS = {name: f"password of {name}" for name in ("alice@acme", "alice@globex", "bob@acme", "mallory@other")}
_CHAIN = '[[policy]]\nid = "tenants"\nuse = "local:tenants"\ntenants = ["acme", "globex"]\n'


class TenantsExampleTests(SynchronousTestCase):
    """Two tenants use the same names for everything, and never meet."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        shutil.copytree(CHECKOUT / "examples" / "tenants" / "plugins", self.folder / "plugins")
        for path in (self.folder / "plugins", *(self.folder / "plugins").iterdir()):
            path.chmod(0o755)
        files = write_config(
            self.folder,
            users=_USERS,
            rules=("permit everyone publish,read #",),
            extra_policies=_CHAIN,
            extra='[plugins]\npath = ["plugins"]\n[control]\nsocket = "control.sock"\n[log]\nlevel = "info"\n',
            plaintext=True,
        )
        self.files = allow_many_connections(files)
        self.broker = BrokerProcess(self.files.config, self.folder)
        self.addCleanup(self.broker.kill)
        self.broker.start(2)

    def login(self, user: str, client_id: str, expect: int = 0, **more: object) -> AttackClient:
        client = AttackClient(self.broker.ports["plain"])
        self.addCleanup(client.close)
        self.assertEqual(client.connect(client_id, user, _USERS[user], **more), expect)
        return client

    def test_tenants_never_meet(self) -> None:
        """Equal Client Identifiers, topics and retained messages of two tenants are six different things."""
        acme = self.login("alice@acme", "reader")
        globex = self.login("alice@globex", "reader")
        for reader in (acme, globex):
            self.assertEqual(reader.subscribe("plant/#", qos=1), [1])
        writer = self.login("bob@acme", "writer")
        writer.publish("plant/1", b"of acme", retain=True)
        wait_until(lambda: acme.messages() == [("plant/1", b"of acme")], "acme's message")
        self.assertEqual(globex.messages(), [])
        late = self.login("alice@globex", "late")
        late.subscribe("#", qos=1)
        self.assertEqual(late.messages(), [])
        late.publish("plant/1", b"of globex", retain=True)
        again = self.login("bob@acme", "again")
        again.subscribe("#", qos=1)
        wait_until(lambda: again.messages() == [("plant/1", b"of acme")], "acme's retained message")
        self.assertEqual(globex.messages(), [("plant/1", b"of globex")])
        self.assertEqual(acme.messages(), [])  # neither taken over nor told

    def run_command(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, [*arguments, "--config", str(self.files.config)])

    def test_clients_are_named_with_their_namespace(self) -> None:
        """By hand I see whose client is whose, and end the one that I mean."""
        acme, globex = (self.login(f"alice@{tenant}", "reader") for tenant in ("acme", "globex"))
        listed = json.loads(self.run_command("clients", "list", "--json").stdout)["clients"]
        self.assertEqual(sorted((each["namespace"], each["client_id"]) for each in listed),
                         [("acme", "reader"), ("globex", "reader")])  # fmt: skip
        self.assertIn("globex", self.run_command("clients", "list").stdout)
        self.assertEqual(self.run_command("clients", "show", "reader").exit_code, 1)
        shown = self.run_command("clients", "show", "reader", "--namespace", "acme")
        self.assertIn("lab:alice@acme", shown.stdout)
        ended = self.run_command("clients", "disconnect", "reader", "--namespace", "acme")
        self.assertEqual(ended.exit_code, 0, ended.output)
        self.assertIsInstance(acme.remaining()[-1], Disconnect)
        self.assertEqual(globex.messages(), [])
        wrong = self.run_command("clients", "show", "reader", "--namespace", "initech")
        self.assertIn("no client 'reader' in namespace 'initech'", wrong.output)

    def test_apart_after_a_restart(self) -> None:
        """Sessions that wait and retained messages come back from the disk to their own tenants."""
        lasting = {"properties": {"session_expiry_interval": 600}, "clean_start": False}
        for tenant in ("acme", "globex"):
            reader = self.login(f"alice@{tenant}", "reader", **lasting)
            reader.subscribe("plant/#", qos=1)
            reader.close()
            writer = self.login(f"alice@{tenant}", "writer")
            writer.publish("plant/1", f"of {tenant}".encode(), retain=True)
        self.assertEqual(self.broker.stop(), 0)
        self.broker.start(2)
        for tenant in ("globex", "acme"):
            expected = [("plant/1", f"of {tenant}".encode())]
            reader = self.login(f"alice@{tenant}", "reader", **lasting)
            assert reader.connack is not None
            self.assertTrue(reader.connack.session_present)
            self.assertEqual(reader.messages(), expected)
            late = self.login(f"alice@{tenant}", "late")
            late.subscribe("#", qos=1)
            self.assertEqual(late.messages(), expected)

    def test_users_of_no_tenant(self) -> None:
        """Who belongs to none is refused, and does not land where everybody else is not."""
        self.login("mallory@other", "m", expect=0x87)
        wait_until(lambda: "is of none of the tenants" in self.broker.log, "the denial in the log")
