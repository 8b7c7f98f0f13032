"""Is the other end still there."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.client.liveness import Liveness, Silence


class LivenessTests(SynchronousTestCase):
    """A connection with a Keep Alive of 40 s, 10 s for a PINGRESP and 60 s for answers."""

    def setUp(self) -> None:
        self.liveness = Liveness(10, 60)
        self.liveness.begin(0, 40)

    def follow(self, now: float, awaits: bool = False, blocked: bool = False, deaf: bool = False) -> None:
        self.liveness.follow(now, awaits_answers=awaits, is_blocked=blocked, is_deaf=deaf)

    def test_ping_when_either_direction_is_silent(self) -> None:
        """We ping early enough, also while we send all the time: who is gone takes bytes for a while."""
        self.assertEqual(self.liveness.next_deadline(), 30)
        self.liveness.sent(20)
        self.assertEqual(self.liveness.next_deadline(), 30)
        self.liveness.received(25)
        self.assertEqual(self.liveness.next_deadline(), 50)
        self.assertIsNone(self.liveness.expired(49))
        self.assertIs(self.liveness.expired(50), Silence.PING)

    def test_no_pong(self) -> None:
        """A ping that is not answered ends it; one that is does not."""
        self.liveness.pinged(30)
        self.assertEqual(self.liveness.next_deadline(), 40)
        self.assertIs(self.liveness.expired(40), Silence.NO_PONG)
        self.liveness.ponged()
        self.assertIsNot(self.liveness.expired(40), Silence.NO_PONG)

    def test_no_keep_alive(self) -> None:
        """Who asked for none gets none."""
        self.liveness.begin(0, 0)
        self.assertIsNone(self.liveness.next_deadline())

    def test_answers(self) -> None:
        """Each answer shows that the broker goes on; none for a minute that it does not."""
        self.liveness.begin(0, 0)
        self.follow(5, awaits=True)
        self.follow(50, awaits=True)
        self.assertEqual(self.liveness.next_deadline(), 65)
        self.liveness.answered(60)
        self.assertEqual(self.liveness.next_deadline(), 120)
        self.assertIs(self.liveness.expired(120), Silence.NO_ANSWER)
        self.follow(120)
        self.assertIsNone(self.liveness.next_deadline())

    def test_stuck(self) -> None:
        """A broker that reads nothing is given up, and not pinged meanwhile."""
        self.follow(10, blocked=True)
        self.assertEqual(self.liveness.next_deadline(), 70)
        self.assertIs(self.liveness.expired(70), Silence.STUCK)
        self.follow(60)
        self.assertEqual(self.liveness.next_deadline(), 30)

    def test_slow_network(self) -> None:
        """A large message that takes long to leave is not waited for an answer to before it has left."""
        self.liveness.begin(0, 0)
        self.follow(0, awaits=True)
        for now in range(0, 200, 20):
            self.follow(now, awaits=True, blocked=True)
            self.assertIsNone(self.liveness.expired(now + 10))
            self.follow(now + 10, awaits=True)
        self.assertEqual(self.liveness.next_deadline(), 240)
        self.assertIs(self.liveness.expired(240), Silence.NO_ANSWER)

    def test_deaf(self) -> None:
        """While we do not read, the silence is ours: we go on pinging, and expect no PINGRESP until we read again."""
        self.liveness.pinged(30)
        self.liveness.sent(30)
        self.follow(31, deaf=True)
        self.assertEqual(self.liveness.next_deadline(), 60)
        self.assertIs(self.liveness.expired(60), Silence.PING)
        self.follow(100, deaf=False)
        self.assertEqual(self.liveness.next_deadline(), 110)
