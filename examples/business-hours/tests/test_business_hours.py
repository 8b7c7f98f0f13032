"""Run with: python -m twisted.trial tests.test_business_hours (mqttsecure installed, in this folder)."""

from datetime import UTC, datetime, time
from types import SimpleNamespace

from twisted.plugins.mqttsecure_business_hours import Options, factory
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.interfaces import Effect


class BusinessHoursTests(SynchronousTestCase):
    """Open or closed."""

    def effect(self, now: datetime, **options: object) -> Effect:
        environment = SimpleNamespace(wall_clock=lambda: now, source=lambda: None)
        policy = factory.build(Options(**options), environment)
        return policy.decide(SimpleNamespace(now=0.0)).effect

    def test_inside_and_outside(self) -> None:
        """It opens and closes on the second."""
        wednesday = datetime(2030, 1, 2, 8, 0, tzinfo=UTC)
        self.assertIs(self.effect(wednesday), Effect.ABSTAIN)
        self.assertIs(self.effect(wednesday.replace(hour=7, minute=59)), Effect.DENY)
        self.assertIs(self.effect(wednesday.replace(hour=18)), Effect.DENY)

    def test_days(self) -> None:
        """A Saturday is no business day unless it is named."""
        saturday = datetime(2030, 1, 5, 12, 0, tzinfo=UTC)
        self.assertIs(self.effect(saturday), Effect.DENY)
        self.assertIs(self.effect(saturday, days=["saturday"]), Effect.ABSTAIN)

    def test_timezone(self) -> None:
        """The hours are those of the place that is named."""
        seven = datetime(2030, 1, 2, 7, 30, tzinfo=UTC)
        self.assertIs(self.effect(seven, timezone="Europe/Berlin"), Effect.ABSTAIN)
        self.assertIs(self.effect(seven, opens=time(9), timezone="Europe/Berlin"), Effect.DENY)
