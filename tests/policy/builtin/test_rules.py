"""Tests for mqttsecure.policy.builtin.rules."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Action, Effect, Principal
from mqttsecure.policy.builtin.rules import Condition, Rule, RuleError, Who, parse_rule

_WORDS = ["permit", "deny", "everyone", "user:a", "group:b", "publish", "read,", "a/#", "{client}/+", "where", "unless"]
_WORDS += ["qos<=1", "retain=no", "{x}", "in", "a,b", '{x}="y"', 'user:"a', "$share/g/a"]

READ = {Action.SUBSCRIBE, Action.RECEIVE}


def faults_of(text: str) -> list[tuple[int, str]]:
    """What is wrong with a line."""
    try:
        rule = parse_rule(text)
    except RuleError as error:
        return error.faults
    raise AssertionError(f"taken: {rule}")


class GoodRuleTests(SynchronousTestCase):
    """Lines that are rules."""

    def test_reads_the_rules_of_the_manual(self) -> None:
        """The three examples that everybody sees first mean what they say."""
        alice = parse_rule("permit user:alice     publish,read  lab/#")
        self.assertEqual((alice.effect, alice.who), (Effect.PERMIT, Who("user", "alice")))
        self.assertEqual((alice.actions, alice.topic_filter), ({Action.PUBLISH} | READ, "lab/#"))
        sensors = parse_rule("permit group:sensors  publish       plant/{client}/#  where qos<=1 retain=no")
        self.assertEqual((sensors.who, sensors.placeholders), (Who("group", "sensors"), ("client",)))
        self.assertEqual(sensors.conditions, (Condition("qos", "<=", 1), Condition("retain", "=", 0)))
        self.assertFalse(sensors.negated)
        secret = parse_rule("deny   everyone       read          lab/secret/#")
        self.assertEqual((secret.effect, secret.who, secret.actions), (Effect.DENY, Who("everyone"), READ))

    def test_table_of_who(self) -> None:
        """Names may be quoted, and may be those of one authority."""
        for text, expected in (
            ("everyone", Who("everyone")),
            ("user:alice", Who("user", "alice")),
            ("user:people:alice", Who("user", "alice", "people")),
            ('user:"Alice B."', Who("user", "Alice B.")),
            ('user:people:"Alice B."', Who("user", "Alice B.", "people")),
            ('user:"urn:dev:1"', Who("user", "urn:dev:1")),
            ("user:devices:urn:dev:1", Who("user", "urn:dev:1", "devices")),
            (r'group:"a\"b\\c"', Who("group", 'a"b\\c')),
        ):
            self.assertEqual(parse_rule(f"permit {text} read a").who, expected)

    def test_table_of_conditions(self) -> None:
        """All conditions of the language."""
        for text, expected in (
            ("qos=0", Condition("qos", "=", 0)),
            ("qos>=1", Condition("qos", ">=", 1)),
            ("size<1024", Condition("size", "<", 1024)),
            ("retain=yes", Condition("retain", "=", 1)),
            ("{tenant}=acme", Condition("attribute", "in", name="tenant", values=frozenset({"acme"}))),
            ('{tenant}="a b"', Condition("attribute", "in", name="tenant", values=frozenset({"a b"}))),
            ("{country} in DE,FR", Condition("attribute", "in", name="country", values=frozenset({"DE", "FR"}))),
        ):
            for word in ("where", "unless"):
                rule = parse_rule(f"permit everyone publish a {word} {text} qos<2")
                self.assertEqual(rule.conditions, (expected, Condition("qos", "<", 2)))
                self.assertEqual(rule.negated, word == "unless")

    def test_table_of_filters(self) -> None:
        """Any valid filter may stand in a rule, $ topics and spaces included."""
        for text, expected in (
            ("$SYS/#", "$SYS/#"),
            ("#", "#"),
            ("+/x", "+/x"),
            ('"my lab/#"', "my lab/#"),
            ("{tenant}/dev-{client}/+", "{tenant}/dev-{client}/+"),
        ):
            self.assertEqual(parse_rule(f"permit everyone read {text}").topic_filter, expected)

    def test_comparisons(self) -> None:
        """The operators compare as they look."""
        for operator, expected in (("<=", "110"), (">=", "011"), ("<", "100"), (">", "001"), ("=", "010")):
            condition = Condition("qos", operator, 1)
            self.assertEqual("".join(str(int(condition.compare(qos))) for qos in (0, 1, 2)), expected)


class BadRuleTests(SynchronousTestCase):
    """Lines that are none."""

    def test_table_of_faults(self) -> None:
        """Each mistake is told at its column, with the nearest right word."""
        for text, column, part in (
            ("", 1, "permit or deny is missing"),
            ("alow everyone read a", 1, "'alow' begins no rule"),
            ("Permit everyone read a", 1, "did you mean 'permit'?"),
            ("permit", 7, "user:NAME, group:NAME or everyone is missing"),
            ("permit evryone read a", 8, "did you mean 'everyone'?"),
            ("permit usr:a read a", 8, "did you mean 'user:'?"),
            ("permit user: read a", 8, "empty name"),
            ("permit user::a read a", 8, "empty name"),
            ("permit user:a", 14, "publish, subscribe, receive or read is missing"),
            ("permit user:a publsh a", 15, "did you mean 'publish'?"),
            ("permit user:a read,pub a", 20, "'pub' is no action"),
            ("permit user:a publish, read a", 23, "missing beside a comma"),
            ("permit user:a read", 19, "a Topic Filter is missing"),
            ("permit user:a read a/#/b", 20, "a/#/b"),
            ("permit user:a read a+", 20, "a+"),
            ("permit user:a read {Client}/x", 20, "{Client} is no placeholder"),
            ("permit user:a read {client/x", 20, "without its partner"),
            ("permit user:a read dev-{client}+/x", 20, "dev-{client}+"),
            ("permit user:a read $share/g/a", 20, "remove $share/"),
            ("permit user:a read a wher qos=1", 22, "did you mean 'where'?"),
            ("permit user:a read a where", 27, "a condition such as"),
            ("permit user:a read a where qos <= 1", 28, "'qos' is no condition"),
            ("permit user:a read a where qos=3", 28, "QoS above 2"),
            ("permit user:a read a where retain=true", 28, "is no condition"),
            ("permit user:a read a where {X}=1", 28, "{X} is no attribute"),
            ("permit user:a read a where {x} in a,", 28, "missing beside a comma"),
            ("permit user:a read a where {x} in", 28, "is no condition"),
            ("permit user:a subscribe a where retain=no", 42, "subscribe alone has no retain"),
            ("permit user:a subscribe a unless size>9", 40, "subscribe alone has no size"),
            ('permit user:"a read a', 8, "not quoted as a whole"),
            ('permit user:a read lab"x"', 20, "not quoted as a whole"),
        ):
            self.assertTrue(
                any(at == column and part in fault for at, fault in faults_of(text)), (text, faults_of(text))
            )

    def test_tells_all_faults_of_a_line(self) -> None:
        """One look at the message is enough to mend the whole line."""
        faults = faults_of("alow usr:a publsh a/#/b wen x")
        self.assertEqual([column for column, _ in faults], [1, 6, 12, 19, 25])

    def test_columns_count_what_stands_before(self) -> None:
        """Columns are those of an editor, with leading spaces."""
        self.assertEqual(faults_of("   alow everyone read a")[0][0], 4)

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.sampled_from(_WORDS),
                st.text(max_size=6),
            ),
            max_size=9,
        )
    )
    def test_any_line_is_a_rule_or_told_why_not(self, words: list[str]) -> None:
        """No line, however mangled, has any other effect than a rule or a message."""
        try:
            rule = parse_rule(" ".join(words))
        except RuleError as error:
            self.assertTrue(error.faults)
        else:
            self.assertIsInstance(rule, Rule)
            self.assertTrue(rule.actions)
            self.assertTrue(rule.topic_filter)


class AuthorityTests(SynchronousTestCase):
    """Whose name it is."""

    def test_table_of_authorities(self) -> None:
        """A name with an authority is that authority's alone; a bare one grants nothing to the anonymous."""
        people, anonymous = Principal("people", "a"), Principal("anonymous", "a")
        for text, principal, expected in (
            ("permit everyone read x", anonymous, True),
            ("permit everyone read x/{client}", anonymous, True),
            ("permit everyone read x/{user}", anonymous, False),
            ("permit everyone read x where {user}=a", anonymous, False),
            ("deny everyone read x/{user}", anonymous, True),
            ("permit everyone read x/{user}", people, True),
            ("permit user:people:a read x", people, True),
            ("deny user:devices:a read x", people, False),
            ("permit user:a read x", people, True),
            ("permit user:a read x", anonymous, False),
            ("deny user:a read x", anonymous, True),
            ("permit group:anonymous:g read x/{user}", anonymous, True),
        ):
            self.assertIs(parse_rule(text).concerns(principal), expected, (text, principal))
