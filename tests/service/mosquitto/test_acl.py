"""Access control files, line by line."""

from __future__ import annotations

from mqttsecure.errors import ConfigError
from mqttsecure.service.mosquitto.acl import Access, AclLine, read_acl
from tests.service.mosquitto.case import ImportCase


class AclTests(ImportCase):
    """What mosquitto reads in them."""

    def lines(self, *lines: str) -> list[AclLine]:
        return list(read_acl(self.file("acl", *lines), self.notes).lines)

    def test_lines(self) -> None:
        """Who, what and where: before the first user it is about clients without a name, a pattern about everyone."""
        found = self.lines("topic a/#", "user al ice", "# x", "topic read b", "topic deny c c", "pattern write %u/x")
        self.assertEqual(
            [(each.is_pattern, each.user, each.access, each.topic, each.source.line) for each in found],
            [
                (False, None, Access.READWRITE, "a/#", 1),
                (False, "al ice", Access.READ, "b", 4),
                (False, "al ice", Access.DENY, "c c", 5),
                (True, None, Access.WRITE, "%u/x", 6),
            ],
        )
        self.assertEqual(self.told(), [])

    def test_lines_that_are_none(self) -> None:
        """Each is told with its number; what stands below a user that is not named is given to nobody."""
        found = self.lines(
            "topic reed a", "topic", "topic read a/#/b", "allow x", "user", "topic a", "pattern b", "user x"
        )
        self.assertEqual([each.topic for each in found], ["b"])
        for number, text in ((1, "'reed' is no access"), (2, "is empty"), (3, "after #"), (4, "'allow'"), (5, "name")):
            self.assert_told(f"acl:{number}: not carried over", text)
        self.assertRaises(ConfigError, read_acl, self.folder / "none", self.notes)
