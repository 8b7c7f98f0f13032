"""Tests for mqttsecure.policy.builtin.options."""

from __future__ import annotations

from pydantic import ValidationError
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.builtin.options import nearest, parse_rate
from tests.policy.builtin.test_factory import FACTORIES


class RateTests(SynchronousTestCase):
    """Rates as they are written."""

    def test_table_of_rates(self) -> None:
        """Amounts may have a size, times a unit."""
        for text, expected in (
            ("100/second", (100.0, 1.0)),
            ("0.5 / s", (0.5, 1.0)),
            ("10/minute", (10.0, 60.0)),
            ("1MiB/second", (1048576.0, 1.0)),
            ("2 kB/h", (2000.0, 3600.0)),
        ):
            self.assertEqual(parse_rate(text), expected)

    def test_refuses_what_is_no_rate(self) -> None:
        """Each part is told apart."""
        for text, part in (
            ("fast", "is no rate"),
            ("-1/second", "is no rate"),
            ("1e9/second", "is no rate"),
            ("1XB/second", "unit of size"),
            ("1/day", "unit of time"),
            ("0/second", "lets nothing through"),
        ):
            self.assertIn(part, str(self.assertRaises(ValueError, parse_rate, text)))

    def test_names_the_nearest_word(self) -> None:
        """A near miss is told, a far one is not."""
        self.assertEqual(nearest("peopel", ["people"]), "; did you mean 'people'?")
        self.assertEqual(nearest("x", ["people"]), "")


class ModelTests(SynchronousTestCase):
    """All option models."""

    def test_every_option_is_documented(self) -> None:
        """Each key says what it does and shows a value, since the reference is made from that."""
        for factory in FACTORIES:
            for key, field in factory.options.model_fields.items():
                self.assertTrue(field.description and field.examples, f"{factory.name}: {key}")

    def test_every_example_is_valid(self) -> None:
        """What the reference shows can be written."""
        for factory in FACTORIES:
            needed = {
                key: field.examples[0] for key, field in factory.options.model_fields.items() if field.is_required()
            }
            for key, field in factory.options.model_fields.items():
                for example in field.examples or ():
                    factory.options.model_validate({**needed, field.alias or key: example})

    def test_nothing_unknown_or_of_another_type_is_taken(self) -> None:
        """A misspelled key is an error, and so is a number in quotes."""
        for factory in FACTORIES:
            self.assertRaises(ValidationError, factory.options.model_validate, {"no_such_key": 1})
            key = next(iter(factory.options.model_fields))
            self.assertRaises(ValidationError, factory.options.model_validate, {key: object()})
