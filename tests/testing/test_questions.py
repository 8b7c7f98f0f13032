"""Questions as the broker makes them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Purpose, Stage
from mqttsecure.testing.questions import TOPIC_STAGES, facts, odd_requests, ordinary_requests, request
from mqttsecure.wire.topics import check_topic_filter, check_topic_name


class QuestionTests(SynchronousTestCase):
    """Nothing is asked that a broker would not ask."""

    def test_what_is_known_at_each_stage(self) -> None:
        """An address alone at ACCEPT, no principal before AUTHENTICATE, topics where there are topics."""
        self.assertEqual((request(Stage.ACCEPT).connection.tls, request(Stage.ACCEPT).connection.client_id), (None, ""))
        for stage in Stage:
            known = request(stage)
            self.assertEqual(known.connection.principal is None, stage not in TOPIC_STAGES)
            self.assertEqual(bool(known.topic), stage in TOPIC_STAGES)
        self.assertEqual(request(Stage.AUTHENTICATE).exchange["principal"].name, "alice")
        self.assertNotEqual(facts().connection_id, facts().connection_id)

    def test_every_purpose_is_asked(self) -> None:
        """At each stage, with what goes with it."""
        for stage in Stage:
            found = ordinary_requests([stage])
            self.assertEqual({each.purpose for each in found}, set(Purpose))
            self.assertEqual({each.stage for each in found}, {stage})

    def test_odd_topics_are_topics(self) -> None:
        """The oddest names are ones that the broker lets pass."""
        for each in odd_requests(TOPIC_STAGES):
            (check_topic_filter if each.stage is Stage.SUBSCRIBE else check_topic_name)(each.topic)
