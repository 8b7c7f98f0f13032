"""What authors may use: a policy of one file that grants by rules of its own, proved, compared and explained."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure import authors
from mqttsecure.cli.main import main
from tests.support.config import write_config

POLICY = """
from pydantic import BaseModel, ConfigDict
from zope.interface import implementer
from mqttsecure.authors import RuleSet, contains
from mqttsecure.interfaces import INTERFACE_VERSION, IConnectionObserver, IGrants, IPolicy, IPolicyFactory, Role, Stage

class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    rooms: dict[str, str]

@implementer(IPolicy, IGrants, IConnectionObserver)
class Rooms:
    stateful = False
    def __init__(self, options, environment):
        texts = [f"permit user:{name} publish,read room/{room}/#" for name, room in options.rooms.items()]
        self.rules = RuleSet(texts, environment, source=environment.source("rooms"))
        self.decide, self.grants = self.rules.decide, self.rules.grants
        self.names, self.advise = self.rules.names, self.rules.advise
        self.connection_closed = self.rules.forget
    def connection_opened(self, connection): pass
    def connection_authenticated(self, connection): pass

@implementer(IPolicyFactory)
class RoomsFactory:
    interface_version, name, options = INTERFACE_VERSION, "rooms", Options
    summary = "Each user has a room."
    stages = {stage: Role.GRANTS for stage in (Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER)}
    attributes = {}
    def build(self, options, environment):
        return Rooms(options, environment)

factory = RoomsFactory()
"""


class AuthorsTests(SynchronousTestCase):
    """Someone writes a policy without looking into the broker's own modules."""

    def test_everything_promised_is_there(self) -> None:
        """Each name is there, documented, and on the page."""
        page = (Path(__file__).parents[1] / "docs/reference/authors.md").read_text()
        self.assertEqual(authors.AUTHORS_VERSION, 1)
        for name in authors.__all__:
            self.assertTrue(getattr(authors, name, None), name)
            self.assertTrue(f"{name}" in page, name)

    def write(self, room: str) -> Path:
        folder = Path(self.mktemp()).absolute()
        (folder / "plugins").mkdir(parents=True)
        (folder / "plugins" / "rooms.py").write_text(POLICY)
        for path in (folder / "plugins", folder / "plugins" / "rooms.py"):
            path.chmod(0o755)
        rooms = f'[[policy]]\nid = "rooms"\nuse = "local:rooms"\nrooms = {{ alice = "{room}" }}\n'
        return write_config(folder, extra_policies=rooms, extra='[plugins]\npath = ["plugins"]\n').config

    def run_command(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, arguments)

    def test_its_grants_are_proved(self) -> None:
        """`policy prove` decides about them for all topics, together with those of other policies."""
        config = str(self.write("1"))
        claim = ("policy", "prove", "-c", config, "--who", "user:lab:alice")
        self.assertEqual(self.run_command(*claim, "--always", "publish", "room/1/#").exit_code, 0)
        result = self.run_command(*claim, "--never", "publish", "room/#")
        self.assertEqual(result.exit_code, 1, result.output)
        self.assertIn("room/1", result.output)
        self.assertEqual(self.run_command(*claim, "--never", "publish", "room/2/#").exit_code, 0)

    def test_its_grants_are_compared(self) -> None:
        """`policy diff` says who gains and loses what by another room."""
        result = self.run_command("policy", "diff", str(self.write("1")), str(self.write("2")))
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertIn("room/1/#", result.output)
        self.assertIn("room/2/#", result.output)

    def test_its_grants_are_explained(self) -> None:
        """`explain` names the rule that permits, and the line of the configuration."""
        asked = ("explain", "--config", str(self.write("1")), "--user", "alice", "publish")
        permitted = self.run_command(*asked, "room/1/x")
        self.assertEqual(permitted.exit_code, 0, permitted.output)
        self.assertIn("rooms", permitted.output)
        self.assertIn("rule 1", permitted.output)
        self.assertEqual(self.run_command(*asked, "room/2/x").exit_code, 1)
