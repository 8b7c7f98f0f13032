"""Single-file policies in their own tests."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.testing.loading import factory_in, load_policy_file
from tests.support.process import CHECKOUT

TENANTS = CHECKOUT / "examples/tenants/plugins/tenants.py"


class LoadingTests(SynchronousTestCase):
    """A file is loaded whoever may write it."""

    def test_factory(self) -> None:
        """Its factory is found, each time a new one."""
        self.assertEqual(factory_in(TENANTS).name, "tenants")
        self.assertIsNot(factory_in(TENANTS), factory_in(str(TENANTS)))
        self.assertTrue(hasattr(load_policy_file(TENANTS), "Options"))

    def test_files_without_one(self) -> None:
        """A file without a factory is told as such, one that fails raises what it raises."""
        file = Path(self.mktemp()).with_suffix(".py")
        file.write_text("x = 1\n")
        with self.assertRaisesRegex(ImportError, "has 0 policy factories"):
            factory_in(file)
        file.write_text("1 / 0\n")
        self.assertRaises(ZeroDivisionError, factory_in, file)
        self.assertRaises(ImportError, factory_in, file.with_suffix(".txt"))
