"""The compiled ruleset in a real kernel, between two hosts: it decides as the broker's ACCEPT stage does."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import MappingProxyType

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from mqttsecure.core.decisions import ConnectionFacts, Peer, Purpose, Request, Stage, Verdict
from mqttsecure.policy.chain import PolicyChain
from mqttsecure.service.assembly import check
from mqttsecure.service.config import load_config
from tests.support.namespaces import CONNECTED, REFUSED, SILENCE, Attempt, TwoHosts
from tests.support.process import CHECKOUT

RANGES = ("10.200.0.0/16", "192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32")
BROKER = ("10.77.0.10", "fd77::10")
WIDER = 3
"""The exit code of a ruleset that cannot know who is authenticated."""

LISTENERS = """
[[listener]]
name = "both"
bind = ["0.0.0.0:1883", "[fd77::10]:1883"]
plaintext = true
plaintext_beyond_loopback = true
[[listener]]
name = "dual"
bind = "[::]:1884"
plaintext = true
plaintext_beyond_loopback = true
"""
ADDRESSES = """
[[policy]]
id = "closed-sites"
use = "ip-allowlist"
on = ["dual"]
permit = ["198.51.100.0/25"]
deny = ["198.51.100.64/27", "2001:db8:5::/48", "::ffff:10.200.9.0/120"]
[[policy]]
id = "sites"
use = "ip-allowlist"
permit = ["10.200.0.0/17", "10.200.200.0/24", "10.200.201.7", "192.0.2.0/26", "2001:db8::/33", "2001:db8:ffff::1"]
deny = ["10.200.3.0/24", "192.0.2.32/28", "2001:db8:1::/48"]
"""
BANS = """
[[policy]]
id = "bans"
use = "ban"
on = ["both"]
file = "bans.json"
exempt = ["10.200.64.9", "2001:db8:2::/64"]
"""
BANNED = {
    "10.200.1.7": 3000, "10.200.2.9": -5, "10.200.64.0/20": 72_000, "10.200.64.0/24": 36_000, "10.200.65.7": None,
    "2001:db8:0:7::/64": 50_000, "2001:db8:2::/48": 72_000, "192.0.2.0/27": None,
}  # fmt: skip
"""Seconds that are left when a test begins, None for a ban without end: none ends while a test runs."""

LIMITS = """
[[policy]]
id = "connections"
use = "connection-limit"
"""
AMPLE = "per_address = 5000\nper_prefix = 5000\nunauthenticated = 5000\nburst = 5000\n"
REST = """
[[policy]]
id = "handshake"
use = "tls-requirements"
plaintext = "anywhere"
[[policy]]
id = "anyone"
use = "anonymous"
[[policy]]
id = "client-ids"
use = "client-id"
patterns = ["*"]
[[policy]]
id = "topics"
use = "topic-acl"
rules = ["permit everyone publish,read lab/#"]
"""


class NftCase(SynchronousTestCase):
    """Two hosts, a configuration, and sockets that stand for the broker's listeners."""

    def setUp(self) -> None:
        self.hosts = TwoHosts(RANGES)
        self.addCleanup(self.hosts.remove)
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.moment = datetime.now(UTC)
        self.config = self.directory / "broker.toml"
        self.v4 = self.hosts.listen("0.0.0.0", 1883)
        self.hosts.listen(BROKER[1], 1883)
        self.hosts.listen("::", 1884)
        self.hosts.listen("::", 2222)  # no listener of the broker
        # Once, so that each host knows the other's hardware address and nothing is lost to that.
        first = [
            self.hosts.connect(Attempt(*each, 2222)) for each in (("10.77.0.20", BROKER[0]), ("fd77::20", BROKER[1]))
        ]
        self.assertEqual(self.hosts.outcomes(first, 2.0), [CONNECTED, CONNECTED])

    def ban(self, banned: Mapping[str, int | None]) -> None:
        """Write the file of the ``ban`` policy, as the broker does; the times count from when the test began."""
        now = self.moment
        entries = [
            {
                "address": text,
                "since": (now - timedelta(seconds=60)).isoformat(),
                "until": None if seconds is None else (now + timedelta(seconds=seconds)).isoformat(),
                "why": "a test",
                "by_hand": seconds is None or "/" in text,
                "earlier": 0,
                "note": "",
            }
            for text, seconds in banned.items()
        ]
        path = self.directory / "bans.json"
        path.write_text(json.dumps({"version": 1, "bans": entries}))
        path.chmod(0o600)

    def load(
        self, options: str, *arguments: str, limits: str = "", banned: Mapping[str, int | None] = MappingProxyType({})
    ) -> PolicyChain:
        """Compile, load it on the broker's host, and give the broker's own chain.

        Args:
            options: of the ``connection-limit``.
            arguments: of the command.
            limits: a table for the end of the configuration.
            banned: prefixes, with the seconds that are left.
        """
        self.ban(banned)
        self.config.write_text(f"{LISTENERS}{BANS}{ADDRESSES}{LIMITS}{options}{REST}{limits}")
        output = self.directory / "broker.nft"
        result = CliRunner().invoke(main, ["policy", "nft", str(self.config), "-o", str(output), *arguments])
        self.assertEqual(result.exit_code, WIDER, result.output)
        self.hosts.load(output.read_text())
        return check(load_config(self.config)).chain

    def connect(self, *attempts: Attempt) -> list[str]:
        """Connections that are begun at once; those that come about stay."""
        return self.hosts.outcomes([self.hosts.connect(each) for each in attempts])


def _permits(chain: PolicyChain, listener: str, source: str) -> bool:
    facts = ConnectionFacts(1, listener, Peer(ip_address(source), 40000))
    verdict = chain.decide(Request(Stage.ACCEPT, facts, 0.0, purpose=Purpose.TEST))
    assert isinstance(verdict, Verdict)
    return verdict.permitted


def _sources(choice: random.Random) -> list[str]:
    """Addresses of the client's host: at the edges of what the configuration names, and anywhere."""
    edges = [
        network[index]
        for text in (
            "10.200.0.0/17", "10.200.3.0/24", "10.200.9.0/24", "10.200.200.0/24", "10.200.201.7", "192.0.2.0/26",
            "192.0.2.32/28", "198.51.100.0/25", "198.51.100.64/27", "2001:db8::/33", "2001:db8:1::/48",
            "2001:db8:5::/48", "2001:db8:ffff::1", *BANNED, "10.200.64.9", "2001:db8:2::/64",
        )
        for network in [ip_network(text)]
        for index in (0, -1)
    ]  # fmt: skip
    beside = [edge + step for edge in edges for step in (-1, 0, 1)]
    networks = [ip_network(text) for text in RANGES]
    anywhere = [each[choice.randrange(each.num_addresses)] for each in networks for _ in range(25)]
    return [str(each) for each in beside + anywhere if any(each in network for network in networks)]


class AddressTests(NftCase):
    """A thousand random connections."""

    def compare(self, chain: PolicyChain, refusal: str, other: str, count: int) -> None:
        """Random connections, and what the chain says of each; ``other`` is what becomes of other ports."""
        seed = random.randrange(2**32)
        choice = random.Random(seed)
        sources = _sources(choice)
        tally: Counter[str] = Counter()
        for _ in range(count // 250):
            attempts = []
            for _ in range(250):
                source = choice.choice(sources)
                port = choice.choices((1883, 1884, 2222, 2223), (5, 5, 1, 1))[0]
                attempts.append(Attempt(source, BROKER[":" in source], port))
            found = self.connect(*attempts)
            for attempt, outcome in zip(attempts, found, strict=True):
                if attempt.port > 2000:
                    # Nothing listens on 2223: where it is not dropped, the host itself answers.
                    expected = REFUSED if other == CONNECTED and attempt.port == 2223 else other
                else:
                    permitted = _permits(chain, "both" if attempt.port == 1883 else "dual", attempt.source)
                    expected = CONNECTED if permitted else refusal
                    tally[expected] += 1
                self.assertEqual(outcome, expected, (seed, attempt))
        self.assertTrue(all(number > count / 5 for number in tally.values()), tally)

    def test_a_thousand_random_connections_meet_the_decision_of_the_broker(self) -> None:
        """IPv4 and IPv6, banned or not, two listeners with their own policies, and ports that are not the broker's."""
        self.compare(self.load(AMPLE, banned=BANNED), SILENCE, CONNECTED, 1000)

    def test_refusals_may_be_answered(self) -> None:
        """With --reject whoever is refused knows at once."""
        self.compare(self.load(AMPLE, "--reject", banned=BANNED), REFUSED, CONNECTED, 250)

    def test_locked(self) -> None:
        """With --lock other ports are silent; IPv6 lives on though all neighbours are forgotten."""
        chain = self.load(AMPLE, "--lock")
        for name in (self.hosts.server, self.hosts.client):
            self.hosts.run("ip", "-n", name, "neigh", "flush", "dev", "eth0")
        begun = [self.hosts.connect(Attempt(each, BROKER[1], 1883)) for each in ("2001:db8::7",) * 3]
        self.assertEqual(self.hosts.outcomes(begun, 2.0), [CONNECTED] * 3)
        self.compare(chain, SILENCE, SILENCE, 250)
        local = [self.hosts.connect_locally(Attempt("127.0.0.1", "127.0.0.1", port)) for port in (2222, 1883)]
        self.assertEqual(self.hosts.outcomes(local), [CONNECTED, SILENCE])


class LimitTests(NftCase):
    """How many and how fast."""

    def end(self, *connections: socket.socket) -> None:
        """Both ends close."""
        for each in connections:
            each.close()
        time.sleep(0.05)  # for the last packets, on a cable without delay

    def accepted(self) -> list[socket.socket]:
        """The broker's ends of what came about on port 1883."""
        found: list[socket.socket] = []
        while True:
            try:
                found.append(self.v4.accept()[0])
            except BlockingIOError:
                return found

    def test_the_twenty_first_connection_of_an_address_is_refused(self) -> None:
        """Until one of the twenty ends; others, on either listener, are not concerned."""
        self.load("per_address = 20\noverrides = [{ prefix = '10.200.200.0/24', per_address = 2 }]\n")
        one, other = Attempt("10.200.1.1", BROKER[0], 1883), Attempt("10.200.1.2", BROKER[0], 1883)
        begun = [self.hosts.connect(one) for _ in range(21)]
        self.assertEqual(Counter(self.hosts.outcomes(begun)), {CONNECTED: 20, SILENCE: 1})
        # The policy counts on all its listeners together.
        self.assertEqual(self.connect(one, Attempt(one.source, one.host, 1884), other), [SILENCE, SILENCE, CONNECTED])
        nat = Attempt("10.200.200.9", BROKER[0], 1883)
        self.assertEqual(self.connect(nat, nat, nat), [CONNECTED, CONNECTED, SILENCE])
        self.end(*begun, *self.accepted())
        self.assertEqual(Counter(self.connect(*[one] * 21)), {CONNECTED: 20, SILENCE: 1})

    def test_neighbours_count_together(self) -> None:
        """In an IPv4 /24 and an IPv6 /64, and not beyond."""
        self.load("per_prefix = 6\n")
        for inside, beyond, host in (
            ([f"10.200.1.{last}" for last in range(1, 9)], "10.200.2.1", BROKER[0]),
            ([f"2001:db8::{last}:1" for last in range(1, 9)], "2001:db8:0:1::1", BROKER[1]),
        ):
            found = self.connect(*(Attempt(each, host, 1883) for each in inside))
            self.assertEqual(found, [CONNECTED] * 6 + [SILENCE] * 2)
            self.assertEqual(self.connect(Attempt(beyond, host, 1883)), [CONNECTED])

    def test_too_fast(self) -> None:
        """The burst passes; what comes beyond it waits for the rate; an IPv6 host has one rate for its /64."""
        self.load("rate = '1/second'\nburst = 5\n")
        attempts = [Attempt("10.200.1.1", BROKER[0], 1883)] * 7
        self.assertEqual(self.connect(*attempts), [CONNECTED] * 5 + [SILENCE] * 2)
        self.hosts.close_sockets()
        self.v4 = self.hosts.listen("0.0.0.0", 1883)
        self.hosts.listen(BROKER[1], 1883)
        time.sleep(0.9)  # with the 0.4 s of waiting: one, and not two
        self.assertEqual(self.connect(*attempts[:2]), [CONNECTED, SILENCE])
        same = [Attempt(f"2001:db8::{last}:1", BROKER[1], 1883) for last in range(1, 8)]
        self.assertEqual(self.connect(*same), [CONNECTED] * 5 + [SILENCE] * 2)

    def test_a_full_set_locks_nobody_out(self) -> None:
        """Newcomers come through to the broker, which counts for itself; who is in the set is still refused."""
        self.load("per_address = 1\n", limits="[limits]\nmaximum_connections = 2\n")
        first, second, newcomer = (Attempt(f"10.200.{number}.1", BROKER[0], 1883) for number in (10, 11, 12))
        self.assertEqual(self.connect(first, second), [CONNECTED] * 2)
        self.assertEqual(self.connect(newcomer, newcomer, first), [CONNECTED, CONNECTED, SILENCE])

    def test_loopback_is_not_counted(self) -> None:
        """The addresses are judged there too; the numbers are left to the broker."""
        self.load("per_address = 2\n")
        text = self.config.read_text().replace('"2001:db8:ffff::1"]', '"127.0.0.1"]')
        self.config.write_text(text)
        result = CliRunner().invoke(main, ["policy", "nft", str(self.config)])
        self.hosts.load(result.stdout)
        local = [
            self.hosts.connect_locally(Attempt(each, "127.0.0.1", 1883)) for each in ["127.0.0.1"] * 4 + ["127.0.0.2"]
        ]
        self.assertEqual(self.hosts.outcomes(local), [CONNECTED] * 4 + [SILENCE])


class BanTests(NftCase):
    """Who is banned is kept out, and for no longer than that."""

    def test_a_ban_ends_by_itself(self) -> None:
        """Its time runs in the kernel; one without end stays."""
        self.load(AMPLE, banned={"10.200.1.7": 3, "10.200.1.8/32": None})
        short, long = (Attempt(f"10.200.1.{last}", BROKER[0], 1883) for last in (7, 8))
        until = time.monotonic() + 60
        while self.connect(short) != [CONNECTED]:
            self.assertLess(time.monotonic(), until)
        self.assertEqual(self.connect(long), [SILENCE])

    def test_the_bans_alone(self) -> None:
        """Brought up to date without a new table, whose counts go on; again and again."""
        self.load("per_address = 2\n", banned={"10.200.1.7": 600})
        first, second = (Attempt(f"10.200.1.{last}", BROKER[0], 1883) for last in (7, 8))
        self.assertEqual(self.connect(first, second, second), [SILENCE, CONNECTED, CONNECTED])
        other = {"10.200.1.0/30": 600, "10.200.3.0/24": None, "2001:db8:0:7::/64": 60}
        for number, banned in enumerate((other, {}, other)):
            self.ban(banned)
            result = CliRunner().invoke(main, ["policy", "nft", str(self.config), "--bans-only"])
            self.hosts.load(result.stdout)
            near = [Attempt(f"10.200.1.{last}", BROKER[0], 1883) for last in (1, 20 + number)]
            self.assertEqual(self.connect(*near), [SILENCE if banned else CONNECTED, CONNECTED])
            self.assertEqual(self.connect(second), [SILENCE])  # its third


class DiffTests(NftCase):
    """``--diff`` as root, with the real nft."""

    def diff(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        launcher = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); from mqttsecure.cli.main import main; main()"
        return subprocess.run(
            [self.hosts.ip, "netns", "exec", self.hosts.server, sys.executable, "-c", launcher,
             "policy", "nft", str(self.config), "--diff", *arguments],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def test_before_and_after_loading_and_after_a_change_by_hand(self) -> None:
        """Nothing there: 1. Loaded: 0, also once it has counted. Changed: 1, with what was changed."""
        limit = "overrides = [{ prefix = '10.200.0.0/24', rate = '1/minute', burst = 2 }]\n"
        for options in ((), ("--lock", "--reject")):
            for _ in range(5):  # on a machine so busy that ten seconds pass between making and loading: again
                chain = self.load(limit, *options, banned=BANNED)
                self.assertTrue(_permits(chain, "both", "10.200.0.1"))
                self.connect(*[Attempt("10.200.0.1", BROKER[0], 1883)] * 4, Attempt("192.0.2.40", BROKER[0], 1883))
                done = self.diff(*options)
                if not done.returncode:
                    break
            self.assertEqual((done.returncode, done.stdout), (0, "the kernel holds this\n"), done.stderr)
        self.ban({**BANNED, "10.200.1.9": 3000, "10.200.64.0/24": 90_000})
        done = self.diff("--lock", "--reject")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"(?m)^\+     10\.200\.1\.9 for (2\d{3}|3000) s$")
        self.assertRegex(done.stdout, r"(?m)^\+     10\.200\.64\.0/24 for (89|90)\d{3} s$")
        self.assertNotIn("10.200.1.7", done.stdout)
        self.ban(BANNED)
        self.hosts.on_server("nft", "add", "element", "inet", "mqttsecure", "permit_2_sites_v4", "{ 203.0.113.7 }")
        self.hosts.on_server("nft", "insert", "rule", "inet", "mqttsecure", "input", "tcp", "dport", "23", "accept")
        done = self.diff("--lock", "--reject")
        self.assertEqual(done.returncode, 1)
        self.assertIn("-     203.0.113.7\n", done.stdout)
        self.assertIn("-     tcp dport 23 accept\n", done.stdout)
        self.assertEqual(len(json.loads(self.diff("--lock", "--reject", "--json").stdout)["differences"]), 4)
        self.hosts.on_server("nft", "delete", "table", "inet", "mqttsecure")
        done = self.diff()
        self.assertEqual(done.returncode, 1)
        self.assertIn("is not loaded", done.stdout)
