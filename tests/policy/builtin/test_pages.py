"""The reference pages of the built-in policies, compared with the policies."""

from __future__ import annotations

import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.builtin.ban_options import BanOverride
from mqttsecure.policy.builtin.connection_limit import Override
from tests.policy.builtin.test_factory import FACTORIES

OVERRIDES = {"connection-limit": [Override], "ban": [BanOverride]}
_FOLDER = Path(__file__).parents[3] / "docs" / "reference" / "policies"


class PagesTests(SynchronousTestCase):
    """What the manual says of each policy."""

    def test_each_policy_has_a_page_with_its_stages_and_options(self) -> None:
        """I find every stage, role, option and description of a policy on its page."""
        for factory in FACTORIES:
            page = (_FOLDER / f"{factory.name}.md").read_text()
            for stage, role in factory.stages.items():
                self.assertIn(f"| {stage.value} | {role.value} |", page)
            for model in [factory.options, *OVERRIDES.get(factory.name, ())]:
                for key, field in model.model_fields.items():
                    self.assertIn(f"| `{field.alias or key}` |", page, factory.name)
                    self.assertIn(str(field.description), page, factory.name)

    def test_each_example_is_a_valid_table(self) -> None:
        """The example of each page can be copied into a config."""
        for factory in FACTORIES:
            page = (_FOLDER / f"{factory.name}.md").read_text()
            (table,) = tomllib.loads(page.split("```toml\n")[1].split("```")[0])["policy"]
            self.assertEqual(table["use"], factory.name)
            for key in ("id", "use", "on", "final", "required", "timeout_ms"):
                table.pop(key, None)
            factory.options.model_validate(table)
