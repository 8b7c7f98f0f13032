"""Tests of finding policies: strictly, or not at all."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import twisted.plugins
from mqttsecure.core.decisions import Decision, Stage
from mqttsecure.errors import PolicyLoadError
from mqttsecure.policy.registry import FoundFactory, PolicyRegistry, verify_factory, verify_policy
from tests.support.policies import ObservingPolicy, StaticFactory, StaticPolicy

PLUGIN = """
from mqttsecure.core.decisions import Decision
from tests.support.policies import StaticFactory, StaticPolicy
{name} = StaticFactory(StaticPolicy(Decision.abstain()), name="{policy}")
"""


class RegistryTestCase(SynchronousTestCase):
    """Makes folders with plugins in them."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(mode=0o755)

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        path.chmod(mode)
        return path

    def registry(self) -> PolicyRegistry:
        return PolicyRegistry([self.folder])

    def refusal(self, use: str, registry: PolicyRegistry | None = None) -> str:
        return str(self.assertRaises(PolicyLoadError, (registry or self.registry()).find, use))


class LocalFileTests(RegistryTestCase):
    """Single-file policies of `[plugins] path`."""

    def test_found_by_its_name_and_by_its_module(self) -> None:
        """`tenant.py` is found as the policy's name, as local:name and as local:tenant."""
        path = self.write("tenant.py", PLUGIN.format(name="factory", policy="by-tenant"))
        registry = self.registry()
        for use in ("by-tenant", "local:by-tenant", "local:tenant"):
            found = registry.find(use)
            self.assertEqual((found.qualified_name, found.file), ("local:by-tenant", path))
        self.assertIn(found, registry.all())

    def test_a_changed_file_is_read_anew(self) -> None:
        """A reload sees what the file says now, even within the same second."""
        self.write("tenant.py", PLUGIN.format(name="factory", policy="one"))
        self.registry().find("one")
        self.write("tenant.py", PLUGIN.format(name="factory", policy="two"))
        self.registry().find("two")
        self.assertFalse((self.folder / "__pycache__").exists())

    def test_annotations_can_be_resolved(self) -> None:
        """A file with postponed annotations and pydantic options works as in a package."""
        self.write(
            "late.py",
            """
            from __future__ import annotations
            from pydantic import BaseModel
            from tests.support.policies import StaticFactory
            class Inner(BaseModel):
                n: int = 1
            class Options(BaseModel):
                inner: Inner = Inner()
            factory = StaticFactory(None, name="late")
            factory.options = Options
            """,
        )
        self.registry().find("late").factory.options.model_validate({"inner": {"n": 2}})

    def test_file_that_others_may_write_is_not_run(self) -> None:
        """Whoever may write a policy's file decides what the broker does."""
        for mode in (0o664, 0o646):
            self.write("tenant.py", "raise AssertionError('was run')", mode)
            self.assertIn("others may write to it", self.refusal("local:tenant"))

    def test_folder_that_others_may_write_is_refused(self) -> None:
        """So does whoever may put files into the folder; that refuses the start at once."""
        for mode in (0o775, 0o757):
            self.folder.chmod(mode)
            self.assertIn("others may write", str(self.assertRaises(PolicyLoadError, self.registry)))
        self.folder.chmod(0o755)

    def test_file_of_somebody_else_is_not_run(self) -> None:
        """A file that belongs to another user can be changed by that user."""
        self.write("tenant.py", PLUGIN.format(name="factory", policy="tenant"))
        uid = os.geteuid()
        self.patch(os, "geteuid", lambda: uid + 1)
        if uid == 0:
            os.chown(self.folder / "tenant.py", 12345, -1)
            self.assertIn("belongs to user 12345", self.refusal("tenant"))
        else:
            self.assertIn("belongs to user", str(self.assertRaises(PolicyLoadError, self.registry)))

    def test_missing_folder(self) -> None:
        """A folder that does not exist is a mistake, not an empty folder."""
        error = self.assertRaises(PolicyLoadError, PolicyRegistry, [self.folder / "a", self.folder / "b"])
        self.assertEqual(len(error.problems), 2)

    def test_what_is_no_file(self) -> None:
        """A FIFO or a folder named like a module cannot hang the start."""
        os.mkfifo(self.folder / "pipe.py")
        (self.folder / "sub.py").mkdir()
        self.assertEqual(len([each for each in self.registry().failures if "not a regular" in each.reason]), 2)

    def test_huge_file(self) -> None:
        """A file of a megabyte is not a policy."""
        self.write("big.py", "#" * (1024 * 1024 + 1))
        self.assertIn("larger", self.refusal("local:big"))

    def test_failure_to_import_is_told_whole(self) -> None:
        """A policy that cannot be imported refuses the start with its traceback, not silently."""
        self.write("tenant.py", "import json\njson.no_such_thing")
        found = self.refusal("local:tenant")
        self.assertIn("Traceback", found)
        self.assertIn("tenant.py", found)
        self.assertIn("no_such_thing", found)

    def test_other_failures_are_told_in_one_line(self) -> None:
        """A name that is not found lists what could not be looked into."""
        self.write("other.py", "raise SystemExit('bye')")
        found = self.refusal("ip-allowlits")
        self.assertIn("did you mean 'ip-allowlist'?", found)
        self.assertIn("failed to import: SystemExit: bye", found)
        self.assertNotIn("Traceback", found)

    def test_two_of_one_name(self) -> None:
        """Two policies of one name are both listed, and neither is chosen."""
        self.write("one.py", PLUGIN.format(name="f", policy="twin"))
        self.write("two.py", PLUGIN.format(name="f", policy="twin"))
        found = self.refusal("twin")
        for word in ("2 policies", "one.py", "two.py", "rename"):
            self.assertIn(word, found)
        self.assertEqual(self.registry().find("local:one").file.name, "one.py")

    def test_same_name_as_a_built_in(self) -> None:
        """A local policy cannot quietly take the place of a built-in one."""
        self.write("fake.py", PLUGIN.format(name="f", policy="anonymous"))
        found = self.refusal("anonymous")
        self.assertIn("say which: use = 'local:anonymous' or 'mqttsecure:anonymous'", found)

    def test_factory_without_a_name(self) -> None:
        """A factory that cannot be named is told."""
        self.write("odd.py", PLUGIN.format(name="f", policy="a:b"))
        self.assertIn("needs a name", self.refusal("local:odd"))

    def test_unrelated_name(self) -> None:
        """Where no name is near, all are listed."""
        self.assertIn("there are: ", self.refusal("zzzzzzzzzz"))


class InstalledTests(RegistryTestCase):
    """Policies of packages, in twisted/plugins."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(sys, "path", [*sys.path, str(self.folder)])
        self.patch(twisted.plugins, "__path__", list(twisted.plugins.__path__))
        self.addCleanup(self.forget, set(sys.modules))

    def forget(self, before: set[str]) -> None:
        for name in set(sys.modules) - before:
            if name.startswith("twisted.plugins."):
                del sys.modules[name]

    def registry(self) -> PolicyRegistry:
        return PolicyRegistry()

    def test_found_with_its_distribution(self) -> None:
        """A package's policy is known by the package's name and version."""
        path = self.write("twisted/plugins/acme_mqtt.py", PLUGIN.format(name="f", policy="acme"))
        self.write("acme_mqtt-1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: acme-mqtt\nVersion: 1.2\n")
        self.write("acme_mqtt-1.2.dist-info/RECORD", "twisted/plugins/acme_mqtt.py,,\n")
        found = self.registry().find("acme-mqtt:acme")
        self.assertEqual((found.distribution, found.version, found.file), ("acme-mqtt", "1.2", path))
        self.assertEqual(found.qualified_name, "acme-mqtt:acme")

    def test_file_of_no_package(self) -> None:
        """A file that was just put there is found too, and said to be of no package."""
        self.write("twisted/plugins/stray_mqtt.py", PLUGIN.format(name="f", policy="stray"))
        self.assertEqual(self.registry().find("stray").distribution, "unpackaged")

    def test_built_ins_are_our_own(self) -> None:
        """The built-in policies come from this package, whichever way it is installed."""
        self.assertEqual(self.registry().find("ip-allowlist").distribution, "mqttsecure")

    def test_import_failure_is_no_silent_hole(self) -> None:
        """Twisted's loader would skip the module; here naming its policy refuses the start, with the traceback."""
        self.write("twisted/plugins/ban_mqtt.py", "import mqttsecure\n1 / 0\n")
        registry = self.registry()
        self.assertIn("ZeroDivisionError", registry.failures[0].reason)
        found = self.refusal("ban-mqtt", registry)
        self.assertIn("Traceback", found)
        self.assertIn("ZeroDivisionError", found)

    def test_unrelated_modules_are_not_imported(self) -> None:
        """A scan does not run plugins of other products."""
        self.write("twisted/plugins/unrelated.py", "raise AssertionError('was imported')")
        self.assertEqual(self.registry().failures, [])
        self.assertNotIn("twisted.plugins.unrelated", sys.modules)

    def test_a_factory_imported_by_another_module_counts_once(self) -> None:
        """`from twisted.plugins.x import factory` does not make two of it."""
        self.write("twisted/plugins/aa_mqtt.py", PLUGIN.format(name="f", policy="shared"))
        self.write("twisted/plugins/bb_mqtt.py", "# mqttsecure\nfrom twisted.plugins.aa_mqtt import f as again\n")
        self.assertEqual(self.registry().find("shared").file.name, "aa_mqtt.py")

    def test_two_copies_of_one_module_count_once(self) -> None:
        """A checkout beside an installed copy is the same policy, not a second one."""
        second = Path(self.mktemp()).absolute()
        sys.path.append(str(second))
        text = PLUGIN.format(name="f", policy="copied")
        self.write("twisted/plugins/copy_mqtt.py", text)
        (second / "twisted/plugins").mkdir(parents=True)
        (second / "twisted/plugins/copy_mqtt.py").write_text(text)
        self.assertEqual([each.name for each in self.registry().all()].count("copied"), 1)

    def test_unreadable_module(self) -> None:
        """A dangling link among the plugins is passed over like a missing file."""
        self.write("twisted/plugins/good_mqtt.py", PLUGIN.format(name="f", policy="good"))
        (self.folder / "twisted/plugins/dangling.py").symlink_to("/nowhere/mqttsecure")
        self.registry().find("good")


class VerifyTests(SynchronousTestCase):
    """What is found must be what the interface asks for."""

    def refusal(self, factory: Any) -> str:
        found = FoundFactory("x", "dist", "1.0", Path("x.py"), factory)
        return str(self.assertRaises(PolicyLoadError, verify_factory, found))

    def factory(self, **changes: Any) -> StaticFactory:
        factory = StaticFactory()
        for name, value in changes.items():
            setattr(factory, name, value)
        return factory

    def test_good_factory(self) -> None:
        """A proper factory passes."""
        verify_factory(FoundFactory("x", "dist", "1.0", Path("x.py"), self.factory()))

    def test_missing_attribute(self) -> None:
        """A factory that lacks something the interface names is told what."""
        factory = self.factory()
        del factory.stages
        self.assertIn("stages", self.refusal(factory))

    def test_interface_version(self) -> None:
        """A policy written for another version of the interface is not tried out."""
        self.assertIn("written for version 2", self.refusal(self.factory(interface_version=2)))

    def test_wrong_types(self) -> None:
        """All that is wrong is told at once."""
        found = self.refusal(self.factory(stages={"PUBLISH": "grants"}, options=dict, attributes={"a": "str"}))
        self.assertEqual(len(found.splitlines()), 3)
        self.assertIn("at least one Stage", self.refusal(self.factory(stages={})))

    def test_attribute_that_raises(self) -> None:
        """A factory whose attributes cannot be read refuses the start with the traceback."""

        class Broken(StaticFactory):
            @property
            def options(self) -> Any:
                raise ImportError("no geoip here")

        self.assertIn("no geoip here", self.refusal(Broken()))

    def test_policies(self) -> None:
        """What a factory builds must be a policy, an observer in full, and not `async def`."""
        policy = StaticPolicy(Decision.abstain())
        self.assertIs(verify_policy(policy), policy)
        verify_policy(ObservingPolicy())
        self.assertIn("'acl'", str(self.assertRaises(PolicyLoadError, verify_policy, object(), "acl")))

        class Deaf(ObservingPolicy):
            connection_closed = None

        self.assertRaises(PolicyLoadError, verify_policy, Deaf())

        class Async(StaticPolicy):
            async def decide(self, request: Any) -> Any:
                return Decision.abstain()

        self.assertIn("async def", str(self.assertRaises(PolicyLoadError, verify_policy, Async(None))))
        self.assertEqual(len(Stage), 7)
