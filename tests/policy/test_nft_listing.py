"""Tests for mqttsecure.policy.nft_listing: is that what the kernel holds."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.nft_listing import contents_of_kernel, contents_of_ruleset, differences, same_times
from tests.policy.nft_case import Accept, allowlist, bans, limit
from tests.policy.nft_json import listing_of

LISTENERS = {"lab": [("10.77.0.10", 8883), ("fd77::10", 8883)], "dual": [("::", 1884)], "any": [("0.0.0.0", 1883)]}
OVERRIDES = [{"prefix": "10.0.0.0/8", "per_address": 7}, {"prefix": "10.1.0.0/17", "burst": 3}]


def _ruleset(**more: Any) -> Any:
    made = [
        allowlist("a", permit=["10.0.0.0/8", "192.0.2.0/25", "192.0.2.200", "2001:db8::/32"], deny=["10.9.0.0/16"]),
        limit("con", overrides=OVERRIDES),
        bans("ban", by_hand={"192.0.2.0/28": None}, struck=["10.0.0.7", "2001:db8::7"]),
        allowlist("b", ["dual"], final=True, required=True, permit=["everywhere"]),
    ]
    return Accept(made, LISTENERS, **more).compilation.ruleset


RULESET = _ruleset()


class DifferenceTests(SynchronousTestCase):
    """Someone has a file, and a kernel that may have been given another one, or been changed by hand."""

    def setUp(self) -> None:
        self.listing = listing_of(RULESET)

    def compare(self, ruleset: Any = RULESET) -> list[str]:
        return differences(contents_of_ruleset(ruleset), contents_of_kernel(json.dumps(self.listing)))

    def the(self, kind: str, name: str) -> Any:
        return next(each[kind] for each in self.listing["nftables"] if each.get(kind, {}).get("name") == name)

    def test_the_same_ruleset_has_none(self) -> None:
        """Handles, packets counted and addresses entered by the kernel are no differences."""
        for options in ({}, {"lock": True}, {"reject": True}, {"lock": True, "reject": True}):
            ruleset = _ruleset(**options)
            self.listing = listing_of(ruleset)
            self.assertEqual(self.compare(ruleset), [])

    def test_an_address_more_and_an_address_less(self) -> None:
        """Each is named, under the set that it is in."""
        elements = self.the("set", "permit_0_a_v4")["elem"]
        elements.remove("192.0.2.200")
        elements.append("203.0.113.7")
        self.assertEqual(self.compare(), ["  set permit_0_a_v4", "-     203.0.113.7", "+     192.0.2.200"])

    def test_intervals_cut_otherwise_are_the_same_addresses(self) -> None:
        """nft may join or cut neighbouring intervals as it likes."""
        elements = self.the("set", "permit_0_a_v4")["elem"]
        (index,) = [
            number for number, each in enumerate(elements) if each == {"prefix": {"addr": "192.0.2.0", "len": 25}}
        ]
        elements[index : index + 1] = [{"range": ["192.0.2.0", "192.0.2.9"]}, {"range": ["192.0.2.10", "192.0.2.127"]}]
        self.assertEqual(self.compare(), [])

    def test_a_rule_put_in_by_hand(self) -> None:
        """Whether or not its words are known here."""
        for expression, text in (
            ([{"accept": None}], "-     accept"),
            ([{"match": {"op": ">", "left": {"meta": {"key": "mark"}}, "right": 1}}, {"accept": None}], "-     "),
            ([{"masquerade": None}], '-     {"masquerade": null}'),
            ([{"limit": {"rate": 1, "per": "second", "rate_unit": "mbytes"}}], '-     {"limit": '),
            ([{"match": {"op": "==", "left": {"exthdr": {}}, "right": True}}], "-     "),
        ):
            self.listing = listing_of(RULESET)
            self.listing["nftables"].append({"rule": {"chain": "listener_0_lab", "expr": expression}})
            lines = self.compare()
            self.assertEqual(lines[0], "  chain listener_0_lab")
            self.assertTrue(lines[1].startswith(text), lines)

    def test_a_rule_negated_or_with_other_numbers(self) -> None:
        """What looks almost the same is not."""
        rules = [each["rule"] for each in self.listing["nftables"] if "rule" in each]
        changes = 0
        for rule in rules:
            for path in ("match", "set", "vmap", "goto", "jump"):
                for expression in [each for each in rule["expr"] if path in each]:
                    before = copy.deepcopy(expression)
                    _change(expression[path])
                    self.assertNotEqual(self.compare(), [], before)
                    expression[path] = before[path]
                    changes += 1
        self.assertGreater(changes, 40)
        self.assertEqual(self.compare(), [])

    def test_sizes_time_outs_and_the_hook(self) -> None:
        """A set that holds more, a base chain that does not drop, and one that is hooked elsewhere."""
        for kind, name, key, value in (
            ("set", "rate_1_con_v4", "size", 65_535),
            ("set", "rate_1_con_v4", "timeout", 60),
            ("set", "permit_0_a_v4", "flags", []),
            ("chain", "input", "policy", "drop"),
            ("chain", "input", "hook", "forward"),
            ("chain", "input", "prio", -300),
        ):
            self.listing = listing_of(RULESET)
            self.the(kind, name)[key] = value
            self.assertEqual(self.compare()[0], f"  {kind} {name}", (key, value))

    def test_what_is_there_alone(self) -> None:
        """Chains, sets and other objects that only one side has."""
        self.listing["nftables"] += [
            {"chain": {"name": "mine"}},
            {"rule": {"chain": "mine", "expr": [{"return": None}]}},
            {"set": {"name": "ports", "type": "inet_service"}},
            {"counter": {"name": "seen", "packets": 1}},
        ]
        heads = [line for line in self.compare() if line.startswith("- ") and line[2] != " "]
        self.assertEqual(heads, ["- chain mine", "- set ports", "- counter seen"])
        self.listing["nftables"] = [each for each in listing_of(RULESET)["nftables"] if "map" not in each]
        self.assertEqual(self.compare()[0], "+ map overrides_1_con_v4")

    def test_a_table_that_sleeps(self) -> None:
        """All is there, and nothing is judged."""
        self.listing["nftables"][1]["table"]["flags"] = ["dormant"]
        self.assertEqual(self.compare(), ["- table", '-     flags ["dormant"]'])

    def test_no_table_at_all(self) -> None:
        """Everything is missing."""
        lines = differences(contents_of_ruleset(RULESET), {})
        self.assertTrue(lines and all(line.startswith("+") for line in lines))

    def test_spelling_of_addresses(self) -> None:
        """glibc writes some IPv6 addresses otherwise than Python."""
        ruleset = Accept([allowlist("a", permit=["everywhere"])], {"lab": [("::102:304", 8883)]}).compilation.ruleset
        self.listing = listing_of(ruleset)
        for each in self.listing["nftables"]:
            for expression in each.get("rule", {}).get("expr", []):
                if expression.get("match", {}).get("right") == "::102:304":
                    expression["match"]["right"] = "::1.2.3.4"
        self.assertEqual(self.compare(ruleset), [])


def _change(value: Any) -> None:
    if "op" in value and "left" in value:
        value["op"] = "==" if value["op"] == "!=" else "!="
    elif "stmt" in value:
        (counted,) = value["stmt"]
        (numbers,) = counted.values()
        numbers["inv"] = False
    elif "data" in value:
        value["data"] = "@other"
    else:
        value["target"] = "other"


class TimeTests(SynchronousTestCase):
    """Elements that end by themselves: their time runs down on both sides."""

    def setUp(self) -> None:
        by_hand = {"192.0.2.0/24": None, "198.51.100.0/24": 600.0, "10.1.0.0/16": 5.0}
        made = [bans("b", by_hand=by_hand), allowlist("a", permit=["everywhere"])]
        self.ruleset = Accept(made, LISTENERS).compilation.ruleset
        self.listing = listing_of(self.ruleset)
        (self.elements,) = (
            each["set"]["elem"]
            for each in self.listing["nftables"]
            if each.get("set", {}).get("name") == "banned_0_b_v4"
        )

    def compare(self) -> list[str]:
        kernel = contents_of_kernel(json.dumps(self.listing))
        return differences(*same_times(contents_of_ruleset(self.ruleset), kernel))

    def test_some_seconds_are_no_difference(self) -> None:
        """The kernel was given them a moment ago; what is about to end may be gone on one side."""
        self.assertEqual(self.compare(), [])
        self.elements[2]["elem"]["expires"] -= 9
        del self.elements[0]
        self.assertEqual(self.compare(), [])
        self.elements.append({"elem": {"val": "203.0.113.7", "timeout": 60, "expires": 3}})
        self.assertEqual(self.compare(), [])

    def test_another_time_is_one(self) -> None:
        """So is a ban that only one side has, and one without end that has one there."""
        self.elements[2]["elem"]["expires"] = 60
        self.elements[1] = {"elem": {"val": self.elements[1], "timeout": 60, "expires": 50}}
        self.elements.append({"elem": {"val": "203.0.113.7", "timeout": 60, "expires": 30}})
        self.assertEqual(
            self.compare(),
            [
                "  set banned_0_b_v4",
                "-     192.0.2.0/24 for 50 s",
                "-     198.51.100.0/24 for 60 s",
                "-     203.0.113.7 for 30 s",
                "+     192.0.2.0/24 for good",
                "+     198.51.100.0/24 for 600 s",
            ],
        )

    def test_a_set_that_keeps_no_time(self) -> None:
        """Somebody made it anew otherwise."""
        for each in self.listing["nftables"]:
            if each.get("set", {}).get("name") == "banned_0_b_v4":
                each["set"]["flags"] = ["interval"]
                each["set"]["elem"] = ["192.0.2.0"]
        self.assertIn("+     timeouts", self.compare())


class ListingTests(SynchronousTestCase):
    """What nft printed is not trusted to be what was asked for."""

    def test_what_is_no_listing_is_told(self) -> None:
        """Nothing but a ValueError comes of it."""
        odd_set = {"set": {"name": "a", "type": "ipv4_addr", "flags": ["interval"], "elem": [3]}}
        odd = ([{}], 3, [{"rule": {}}], [{"chain": {"hook": "input", "name": "a"}}], [odd_set])
        for text in ("", "{}", "[]", *(json.dumps({"nftables": each}) for each in odd)):
            with self.assertRaises(ValueError, msg=text):
                contents_of_kernel(text)

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=6,
    )

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_any_part_may_be_anything(self, data: st.DataObject) -> None:
        """A newer nft may print what this one never did: a difference or a ValueError, no traceback."""
        listing = listing_of(RULESET)
        each = data.draw(st.sampled_from(listing["nftables"]))
        (value,) = each.values()
        key = data.draw(st.sampled_from(sorted(value)))
        value[key] = data.draw(self.json_values)
        if key == "expr":
            value[key] = [value[key]]
        try:
            differences(contents_of_ruleset(RULESET), contents_of_kernel(json.dumps(listing)))
        except ValueError:
            pass
