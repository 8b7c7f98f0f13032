"""Rules whose order counts, as rules whose order does not."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mqttsecure.core.decisions import Source
from mqttsecure.policy.builtin.rules import parse_rule
from mqttsecure.service.mosquitto.tiers import RuleLine, arranged, written
from mqttsecure.wire.topics import matches
from tests.service.mosquitto.case import ImportCase

_FILTERS = st.lists(st.sampled_from(("a", "b", "+")), min_size=1, max_size=2).map("/".join) | st.just("#")
_RULES = st.builds(
    lambda permits, action, topic, line: RuleLine(permits, "user", "u", (action,), topic, Source("f", line)),
    st.booleans(),
    st.sampled_from(("publish", "receive", "read")),
    _FILTERS,
    st.integers(1, 9),
)
_TOPICS = ("a", "b", "c", "a/a", "a/b", "b/b", "b/c", "a/b/c")


def _first(rules: list[RuleLine], action: str, topic: str) -> bool | None:
    """The first that is about it."""
    for rule in rules:
        if (action in rule.actions or (action == "receive" and "read" in rule.actions)) and matches(rule.topic, topic):
            return rule.permits
    return None


class TiersTests(ImportCase):
    """Denials override within a policy, and permits end it for those behind."""

    @settings(max_examples=300)
    @given(st.lists(_RULES, max_size=8))
    def test_decide_the_same(self, rules: list[RuleLine]) -> None:
        """However permits and denials are mixed, the policies decide as the first line that is about a topic did."""
        tiers = arranged([rules])
        self.assertEqual(tiers.broken, [])
        for action in ("publish", "receive"):
            for topic in _TOPICS:
                decided = None
                for tier in tiers.rules:
                    decided = _first(sorted(tier, key=lambda rule: rule.permits), action, topic)
                    if decided is not None:
                        break
                self.assertEqual(decided, _first(rules, action, topic), (action, topic))

    def test_as_few_as_can_be(self) -> None:
        """Denials that stand in front, or are about something else, need no policy of their own."""
        deny, permit = (RuleLine(each, "user", "u", ("read",), "a/#", Source("f", 1)) for each in (False, True))
        other = RuleLine(False, "user", "u", ("publish",), "a/#", Source("f", 2))
        self.assertEqual(len(arranged([[deny, permit, other]]).rules), 1)
        self.assertEqual(len(arranged([[permit, deny]]).rules), 2)
        self.assertEqual(arranged([]).rules, [[]])

    def test_orders_that_contradict_each_other(self) -> None:
        """Where one client has a denial first and another the permit, the denial holds for both, and that is told."""
        deny = RuleLine(False, "group", "g", ("read",), "a", Source("f", 1))
        permit = RuleLine(True, "group", "h", ("read",), "a", Source("f", 2))
        tiers = arranged([[deny, permit], [permit, deny]])
        self.assertEqual((tiers.rules, tiers.broken), ([[deny, permit]], [(permit, deny)]))

    @given(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r{}+#", exclude_categories=["Cs"]), min_size=1)
    )
    def test_names_are_read_again(self, name: str) -> None:
        """Whatever a user or topic is called, the rule that is written names that very one."""
        line = RuleLine(True, "user", name, ("read",), f"t/{name}", Source("f", 1))
        rule = parse_rule(line.text)
        self.assertEqual((rule.who.name, rule.who.authority, rule.topic_filter), (name, None, f"t/{name}"))
        self.assertEqual(parse_rule(f"permit user:{written('x:y')} read a").who.name, "x:y")
