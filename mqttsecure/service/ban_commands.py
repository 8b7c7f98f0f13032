# -*- test-case-name: tests.service.test_ban_commands -*-
"""Banning addresses and blocking names at the running broker, by the words of the control socket."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.python.failure import Failure

from mqttsecure.errors import ConfigError
from mqttsecure.policy.builtin.ban import BanPolicy, banned_network
from mqttsecure.policy.builtin.ban_table import Network
from mqttsecure.policy.builtin.block_list import CLIENT, USER, BlockList
from mqttsecure.policy.identity import parse_principal
from mqttsecure.service.in_force import InForce

__all__ = ["BanCommands"]

_LONGEST: Final = 10 * 365 * 86_400
"""Seconds; whoever means longer leaves out the time, and means for good."""

_LONGEST_NOTE: Final = 500

_MAXIMUM_LISTED: Final = 10_000
"""Clients that wait, in one answer; more are counted."""

_NO_BANS: Final = """\
the configuration has no policy that bans; add this near the top of its chain, then reload:
[[policy]]
id = "bans"
use = "ban"
file = "/var/lib/mqttsecure/bans.json\""""

_NO_BLOCKS: Final = """\
the configuration has no policy that blocks names; add this behind the identity policies, then reload:
[[policy]]
id = "blocked"
use = "block-list"
file = "/var/lib/mqttsecure/blocked.json\""""


class BanCommands:
    """The commands. Each takes the request as it came; what is wrong with it is a ConfigError.

    With several policies of a kind, on several listeners, all of them are told. An answer comes when what was asked for
    is on disk.

    Args:
        in_force: gives what is in force now.
    """

    def __init__(self, in_force: Callable[[], InForce]) -> None:
        self._in_force = in_force

    def table(self) -> Mapping[str, Callable[[dict[str, Any]], Any]]:
        """The commands by name."""
        return {
            "bans": self.bans,
            "ban": self.ban,
            "unban": self.unban,
            "blocked": self.blocked,
            "block": self.block,
            "unblock": self.unblock,
        }

    # -- addresses -----------------------------------------------------------------------------------------------

    def bans(self, request: dict[str, Any]) -> dict[str, Any]:
        """All bans in force, and the clients that have to wait."""
        bans: list[dict[str, Any]] = []
        waiting: list[dict[str, Any]] = []
        for policy_id, policy in self._ban_policies():
            listed = policy.listed()
            bans += [{"policy": policy_id, **each} for each in listed["bans"]]
            waiting += [{"policy": policy_id, **each} for each in listed["waiting"]]
        return {"bans": bans, "total_waiting": len(waiting), "waiting": waiting[:_MAXIMUM_LISTED]}

    def ban(self, request: dict[str, Any]) -> Deferred[dict[str, Any]]:
        """Ban a prefix."""
        network, seconds, note = _network(request), _seconds(request), _note(request)
        saving = [policy.ban_by_hand(network, seconds, note) for _, policy in self._ban_policies()]
        return _when_saved(saving, {"address": str(network), "seconds": seconds})

    def unban(self, request: dict[str, Any]) -> Deferred[dict[str, Any]]:
        """Lift the bans of a prefix and of what is under it."""
        network = _network(request)
        lifted = [policy.lift(network) for _, policy in self._ban_policies()]
        count = sum(number for number, _ in lifted)
        if not count:
            raise ConfigError(
                f"{network} is not banned, and nothing under it; `mqttsecure bans list` shows what is. "
                "A wider ban is lifted as it was made"
            )
        return _when_saved([saving for number, saving in lifted if number], {"address": str(network), "lifted": count})

    def _ban_policies(self) -> list[tuple[str, BanPolicy]]:
        chain = self._in_force().assembly.chain
        found = [(each.id, each.policy) for each in chain.bindings if isinstance(each.policy, BanPolicy)]
        if not found:
            raise ConfigError(f"{self._in_force().config.path}: {_NO_BANS}")
        return found

    # -- names ---------------------------------------------------------------------------------------------------

    def blocked(self, request: dict[str, Any]) -> dict[str, Any]:
        """All names that are blocked."""
        return {
            "blocked": [{"policy": policy_id, **row} for policy_id, policy in self._lists() for row in policy.listed()]
        }

    def block(self, request: dict[str, Any]) -> Deferred[dict[str, Any]]:
        """Block a Client Identifier, or a user."""
        kind, name = _name(request)
        seconds, note = _seconds(request), _note(request)
        done = [policy.block(kind, name, seconds, note) for _, policy in self._lists()]
        answer = {"kind": kind, "name": name, "seconds": seconds, "connections": sum(count for count, _ in done)}
        return _when_saved([saving for _, saving in done], answer)

    def unblock(self, request: dict[str, Any]) -> Deferred[dict[str, Any]]:
        """Let a name in again."""
        kind, name = _name(request)
        saving = [policy.unblock(kind, name) for _, policy in self._lists()]
        if not any(saving):
            raise ConfigError(f"the {kind} {name!r} is not blocked; `mqttsecure clients blocked` shows who is")
        return _when_saved([each for each in saving if each is not None], {"kind": kind, "name": name})

    def _lists(self) -> list[tuple[str, BlockList]]:
        chain = self._in_force().assembly.chain
        found = [(each.id, each.policy) for each in chain.bindings if isinstance(each.policy, BlockList)]
        if not found:
            raise ConfigError(f"{self._in_force().config.path}: {_NO_BLOCKS}")
        return found


def _when_saved(saving: Iterable[Deferred[None] | None], answer: dict[str, Any]) -> Deferred[dict[str, Any]]:
    """The answer when all is on disk; ``kept`` says whether there is a disk to be on."""
    waiting = list(saving)
    answer["kept"] = None not in waiting
    done = gatherResults([each for each in waiting if each is not None], consumeErrors=True)
    return done.addCallbacks(lambda _: answer, _first_problem)


def _first_problem(failure: Failure) -> Failure:
    error = failure.value
    return error.subFailure if isinstance(error, FirstError) else failure


def _network(request: dict[str, Any]) -> Network:
    text = request.get("address")
    try:
        return banned_network(text if isinstance(text, str) else repr(text))
    except ValueError:
        raise ConfigError(f"{text!r} is no address or prefix; write it like 192.0.2.7 or 192.0.2.0/24") from None


def _name(request: dict[str, Any]) -> tuple[str, str]:
    kind, name = request.get("kind"), request.get("name")
    if kind not in (CLIENT, USER) or not isinstance(name, str) or not name or len(name) > 65_535:
        raise ConfigError("`kind` is client or user, and `name` is a Client Identifier, or a user as authority:name")
    if kind == USER:
        try:
            parse_principal(name)
        except ValueError as error:
            raise ConfigError(str(error)) from error
    return str(kind), name


def _seconds(request: dict[str, Any]) -> float | None:
    seconds = request.get("seconds")
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        raise ConfigError("`seconds` is a number")
    if not 0 < seconds <= _LONGEST:
        raise ConfigError("the time must be above 0 and at most ten years; leave it out for good")
    return float(seconds)


def _note(request: dict[str, Any]) -> str:
    note = request.get("note") or ""
    if not isinstance(note, str) or len(note) > _LONGEST_NOTE or not note.isprintable():
        raise ConfigError(f"a note is one line of at most {_LONGEST_NOTE} characters")
    return note
