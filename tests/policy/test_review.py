"""Tests of what is said of a chain before it runs."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Decision, Role, Source, Stage
from mqttsecure.policy.review import Bypass
from tests.support.policies import StaticPolicy, bind, chain_of, make_request, restricting

PERMIT = Decision.permit()


class CheckTests(SynchronousTestCase):
    """Chains that must not be started."""

    def problems(self, *bindings, **more) -> str:
        return "\n".join(chain_of(Clock(), *bindings, **more).check())

    def test_good_chain(self) -> None:
        """A chain in which everything can be permitted has no problems."""
        self.assertEqual(self.problems(bind(PERMIT), bind(PERMIT, "limit", stages=restricting())), "")

    def test_a_policy_may_be_asked_at_fewer_stages(self) -> None:
        """What its options leave out is neither asked nor counted on; more than its factory declares is a fault."""
        policy = StaticPolicy(PERMIT)
        policy.stages = {stage: Role.GRANTS for stage in Stage if stage is not Stage.DELIVER}
        policy.stages[Stage.PUBLISH] = Role.RESTRICTS
        chain = chain_of(Clock(), bind(policy))
        self.assertEqual([each.stage for each in chain.table() if not each.can_deny], [Stage.DELIVER])
        self.assertFalse(chain.decide(make_request(Stage.DELIVER)).permitted)
        self.assertTrue(chain.decide(make_request(Stage.PUBLISH)).indeterminate)
        self.assertEqual(len(policy.requests), 1)
        bound = bind(policy, stages=restricting())
        self.assertIn("claims to be asked at ACCEPT (grants), which its factory does not declare", self.problems(bound))

    def test_stage_at_which_nothing_can_permit(self) -> None:
        """A listener that nobody could use is refused at the start, with what is missing."""
        stages = {stage: Role.GRANTS for stage in Stage if stage is not Stage.DELIVER}
        found = self.problems(bind(PERMIT, stages=stages), bind(PERMIT, "limit", stages=restricting()))
        self.assertIn("listener 'test': no policy can permit anything at DELIVER", found)
        self.assertEqual(len(found.splitlines()), 1)

    def test_empty_chain(self) -> None:
        """With no policy each stage of each listener is told."""
        self.assertEqual(len(self.problems(listeners=("a", "b")).splitlines()), 14)

    def test_repeated_id(self) -> None:
        """Two policies of one id could not be told apart in the log."""
        found = self.problems(bind(PERMIT, "a"), bind(PERMIT, "a", source=Source("b.toml", 9)))
        self.assertIn("b.toml:9: policy 'a': this id is used 2 times", found)

    def test_unknown_listener(self) -> None:
        """A misspelled listener would leave a policy out without a word."""
        found = self.problems(bind(PERMIT), bind(PERMIT, "b", on=["tset"]), bind(PERMIT, "c", on=["zzzzzz"]))
        self.assertIn("no listener 'tset'; did you mean 'test'?", found)
        self.assertIn("no listener 'zzzzzz'; there are: test", found)

    def test_no_listener(self) -> None:
        """A policy that is nowhere is a mistake."""
        self.assertIn("on no listener", self.problems(bind(PERMIT), bind(PERMIT, "b", on=[])))

    def test_final_and_required(self) -> None:
        """`final` and `required` must name stages at which they can mean something."""
        limit = bind(
            PERMIT,
            "limit",
            stages=restricting(Stage.PUBLISH),
            final=frozenset({Stage.PUBLISH, Stage.CONNECT}),
            required=frozenset({Stage.ACCEPT, Stage.PUBLISH}),
        )
        found = self.problems(bind(PERMIT), limit)
        self.assertIn("final: at PUBLISH it only restricts", found)
        self.assertIn("final: it is not asked at CONNECT (its stages: PUBLISH)", found)
        self.assertIn("required: it is not asked at ACCEPT", found)
        self.assertIn("required: at PUBLISH it only restricts, so it can never do more than abstain", found)

    def test_timeout(self) -> None:
        """A policy that has no time to answer would always deny."""
        for timeout in (0, -1, float("nan"), float("inf")):
            self.assertIn("timeout_ms", self.problems(bind(PERMIT, timeout=timeout)))

    def test_aliases(self) -> None:
        """Bad aliases are problems of the chain."""
        self.assertIn("alias 'x'", self.problems(bind(PERMIT), aliases={"x": "a:b"}))


class TableTests(SynchronousTestCase):
    """Listener by stage."""

    def test_rows(self) -> None:
        """The table shows who can permit, who can deny, who is required, and whom a final one bypasses."""
        publish = frozenset({Stage.PUBLISH})
        chain = chain_of(
            Clock(),
            bind(PERMIT, "admin", final=publish),
            bind(PERMIT, "limit", stages=restricting(Stage.PUBLISH), required=publish),
            bind(PERMIT, "other", on=["b"]),
            bind(PERMIT, "last", final=publish, stages={Stage.PUBLISH: Role.GRANTS}),
            listeners=("test", "b"),
        )
        rows = {(row.listener, row.stage): row for row in chain.table()}
        self.assertEqual(len(rows), 14)
        row = rows["test", Stage.PUBLISH]
        self.assertEqual((row.can_permit, row.can_deny), (("admin", "last"), ("admin", "limit", "last")))
        self.assertEqual(row.required, ("limit",))
        self.assertEqual(rows["b", Stage.ACCEPT].can_permit, ("other",))
        self.assertEqual(chain.bypassed(), [Bypass("test", Stage.PUBLISH, "admin", ("limit", "last"))])
        self.assertEqual([each.id for each in chain.bindings], ["admin", "limit", "other", "last"])
