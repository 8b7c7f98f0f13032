# -*- test-case-name: tests.lab.attacks.test_table -*-
"""All attacks by row, and how they are run: one after the other, each on a broker that serves."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from OpenSSL import SSL

from mqttsecure.errors import LabError, MqttsecureError
from mqttsecure.lab.attacks import floods, malformed, middle, rights, sessions, stalling, weak_tls
from mqttsecure.lab.attacks.dialling import login
from mqttsecure.lab.attacks.outcome import Outcome, Result, Seen
from mqttsecure.lab.attacks.target import Target

__all__ = ["ATTACKS", "GROUPS", "Attack", "run_attacks", "select"]


@dataclass(slots=True, frozen=True)
class Attack:
    """A row: what is tried, how, and what a secure broker (or client) does."""

    row: str
    words: str
    required: str
    run: Callable[[Target], Seen] | None
    """None for those that are run at once (:mod:`~mqttsecure.lab.attacks.stalling`)."""


def _stalling(row: str) -> Attack:
    return Attack(row, stalling.STALLING[row][0], _CUT[row], None)


_CUT: Final = {row: "closed within 10 s of the accept" for row in stalling.STALLING} | {
    "A19": "closed after one and a half times the Keep Alive"
}

ATTACKS: Final = (
    Attack("A0", "listen in on a login without TLS", "only TLS is spoken", weak_tls.plaintext),
    Attack("A1", "log in without a password", "refused", rights.anonymous),
    Attack("A2", "log in with wrong passwords", "refused", rights.wrong_password),
    Attack("A3", "subscribe to everything, to secrets, to $SYS", "refused in SUBACK", rights.forbidden_filters),
    Attack("A4", "the same in a shared subscription", "refused on the inner filter", rights.shared_filter),
    Attack("A5", "publish where one may only read", "5.0: told 0x87; not delivered", rights.forbidden_publish),
    Attack("A6", "leave a retained message there", "not stored", rights.forbidden_retained),
    Attack("A7", "have the broker publish it as a will", "refused in CONNECT", rights.forbidden_will),
    Attack("A8", "use a Topic Alias that a refused message set", "alias not kept", rights.alias),
    Attack(
        "A9",
        "take another's Client Identifier for its messages",
        "refused; a session has one owner",
        sessions.steal_session,
    ),
    Attack("A10", "take it to throw the owner out", "the owner stays", sessions.kick_owner),
    *map(_stalling, stalling.STALLING),
    Attack("A20", "a CONNECT of 50 MB", "closed at its header", floods.large_connect),
    Attack("A21", "a message of 20 MB", "closed, unbuffered", floods.large_publish),
    Attack("A22", "broken frames, HTTP, a second CONNECT", "closed at once", malformed.broken_frames),
    Attack("A23", "topics with wildcards, NUL, broken UTF-8", "not delivered", malformed.bad_topics),
    Attack("A24", "subscribe and never read", "costs its publishers nothing", floods.slow_reader),
    Attack("A25", "50,000 messages at once", "slowed down or refused", floods.publish_flood),
    Attack("A26", "5,000 subscriptions", "a quota", floods.subscriptions),
    Attack("A27", "SSL 3.0, TLS 1.0, TLS 1.1", "alert protocol_version", weak_tls.old_versions),
    Attack("A28", "TLS 1.2 without forward secrecy, or with CBC", "refused", weak_tls.no_forward_secrecy),
    Attack("A30", "renegotiate within TLS 1.2", "refused", weak_tls.renegotiation),
    Attack("E2", "change a byte within TLS", "the connection ends; nothing gets through", weak_tls.changed_bytes),
    *(
        Attack(
            row, f"man in the middle: {bad.wrong}", f"client refuses: {bad.expect}", partial(middle.verifying, row=row)
        )
        for row, bad in middle.BAD_ROWS.items()
    ),
    Attack("B7", "the same, with verification off", "only with a pin, which is checked", middle.careless),
    # Last: what comes after them from the same address would meet the limits that they have met.
    Attack("A12", "400 idle connections of one address", "at most 100 stay", floods.idle_connections),
    Attack("A11", "guess passwords as fast as they are answered", "slowed down, then not heard", floods.guess),
)

_BY_ROW: Final = {attack.row: attack for attack in ATTACKS}

GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "all": tuple(_BY_ROW),
    "quick": tuple(row for row in _BY_ROW if row not in stalling.STALLING and row not in ("A24", "A25")),
    "rights": ("A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A9", "A10"),
    "slow": tuple(stalling.STALLING),
    "floods": ("A20", "A21", "A24", "A25", "A26", "A12", "A11"),
    "malformed": ("A22", "A23"),
    "tls": ("A0", "A27", "A28", "A30", "E2"),
    "mitm": (*middle.BAD_ROWS, "B7"),
}


def select(names: Sequence[str]) -> list[Attack]:
    """The attacks of these rows and groups, in the order of the table.

    Raises:
        LabError: a name is neither.
    """
    wanted: set[str] = set()
    for name in names or ("all",):
        if name.lower() in GROUPS:
            wanted |= set(GROUPS[name.lower()])
        elif name.upper() in _BY_ROW:
            wanted.add(name.upper())
        else:
            near = difflib.get_close_matches(name.lower(), [*GROUPS, *map(str.lower, _BY_ROW)], n=1)
            mend = f"did you mean {near[0]}?" if near else f"groups: {', '.join(GROUPS)}; rows: {', '.join(_BY_ROW)}"
            raise LabError(f"there is no attack {name!r}; {mend}")
    return [attack for attack in ATTACKS if attack.row in wanted]


def run_attacks(target: Target, attacks: Sequence[Attack]) -> Iterator[Result]:
    """Run them; each result comes as it is there.

    Raises:
        LabError: the broker cannot be reached, or does not let its own users in: then nothing could be told.
    """
    _check_service(target)
    at_once = [attack for attack in attacks if attack.run is None]
    for attack in attacks:
        if attack.run is not None:
            yield _result(attack, _run_one(target, attack.run))
        elif at_once and attack is at_once[0]:
            seen = stalling.stall(target, [each.row for each in at_once])
            for each in at_once:
                yield _result(each, seen[each.row])
        target.pardon()


def _check_service(target: Target) -> None:
    for account in (target.writer, target.reader):
        try:
            with login(target, account) as client:
                client.ping()
        except OSError as error:
            reason = error.strerror or str(error)
            raise LabError(
                f"{target.host}:{target.port} cannot be reached ({reason}); does the broker run, is it TLS there, "
                "and is the CA right?"
            ) from None
        except LabError as error:
            raise LabError(f"{target.host}:{target.port}: {error}; without it nothing can be told") from None


def _run_one(target: Target, run: Callable[[Target], Seen]) -> Seen:
    try:
        return run(target)
    except (OSError, MqttsecureError, SSL.Error) as error:
        return Outcome.UNCLEAR, f"it came otherwise: {error}"


def _result(attack: Attack, seen: Seen) -> Result:
    return Result(attack.row, attack.words, seen[0], seen[1], attack.required)
