# -*- test-case-name: tests.lab.tls.test_session -*-
"""From the key log to the keys of a connection, and to what Finished has to hold."""

from __future__ import annotations

import hmac
from typing import Final

from mqttsecure.lab.model import Check, KeyLogUse, Outcome, Sender, TlsFacts
from mqttsecure.lab.tls.extensions import find
from mqttsecure.lab.tls.keylog import KeyLog
from mqttsecure.lab.tls.protection import SuiteKeys, digest_size, protection_1_2, protection_1_3
from mqttsecure.lab.tls.schedule import (
    finished_1_2,
    finished_1_3,
    key_block,
    master_secret,
    next_traffic_secret,
    transcript_hash,
)
from mqttsecure.lab.tls.state import Epoch, Handshake, Side

__all__ = ["Secrets"]

_MASTER_LENGTH: Final = 48
_SESSION_TICKET: Final = 35
_MAX_REMEMBERED: Final = 100_000
"""Sessions of one capture that are kept to be resumed."""


class Secrets:
    """Finds the secrets of one connection in a key log."""

    def __init__(self, log: KeyLog, facts: TlsFacts, sides: dict[Sender, Side]) -> None:
        self._log = log
        self._facts = facts
        self._sides = sides
        self._labels: dict[str, None] = {}
        self._premaster_check: Check | None = None

    def _find(self, random: bytes, label: str) -> bytes | None:
        secret = self._log.secret(random, label)
        if secret is not None:
            self._labels[label] = None
        return secret

    def start_early(self, random: bytes, keys: SuiteKeys | None, side: Side) -> None:
        """The client's next records may be early data."""
        secret = self._find(random, "CLIENT_EARLY_TRAFFIC_SECRET")
        if secret is not None and keys is not None and len(secret) == digest_size(keys.hash):
            side.epochs = [Epoch("early", protection_1_3(keys, secret), secret)]

    def start_1_3(self, state: Handshake) -> None:
        """Both sides encrypt from now on."""
        keys, client = state.keys, state.client_hello
        if keys is None or client is None:
            return
        for side in self._sides.values():
            name = side.sender.upper()
            epochs = side.epochs if side.epochs and side.epochs[0].name == "early" else []
            for epoch, label in (
                ("handshake", f"{name}_HANDSHAKE_TRAFFIC_SECRET"),
                ("application", f"{name}_TRAFFIC_SECRET_0"),
            ):
                secret = self._find(client.random, label)
                fits = secret is not None and len(secret) == digest_size(keys.hash)
                protection = protection_1_3(keys, secret) if secret is not None and fits else None
                epochs.append(Epoch(epoch, protection, secret if fits else None))
            side.epochs = epochs

    def start_1_2(self, state: Handshake, side: Side) -> None:
        """This side encrypts from now on."""
        side.epochs = []
        client, server, keys = state.client_hello, state.server_hello, state.keys
        if client is None or server is None or keys is None:
            return
        if state.master is None:
            state.master = self._master(state)
        if state.master is None:
            return
        block = key_block(state.master, client.random, server.random, keys.block_length, keys.hash)
        protect = self._facts.encrypt_then_mac and keys.kind == "cbc"
        side.epochs = [Epoch("session", protection_1_2(keys, block, side.sender == "client", protect))]

    def _master(self, state: Handshake) -> bytes | None:
        client, server = state.client_hello, state.server_hello
        if client is None or server is None:
            return None
        master = self._find(client.random, "CLIENT_RANDOM")
        premaster = self._find(client.random, "PMS_CLIENT_RANDOM")
        if premaster is None and state.encrypted_premaster is not None:
            premaster = self._log.by_encrypted_premaster.get(state.encrypted_premaster[:8])
            if premaster is not None:
                self._labels["RSA"] = None
        computed = self._from_premaster(state, premaster) if premaster is not None else None
        if computed is not None and master is not None:
            self._premaster_check = self._compare(state, computed, master)
        if master is None and computed is None:
            master = self._of_earlier_session(state)
        return master if master is not None and len(master) == _MASTER_LENGTH else computed

    def _of_earlier_session(self, state: Handshake) -> bytes | None:
        """The master secret of the session that is resumed, where it went by before."""
        client, server = state.client_hello, state.server_hello
        if not state.resumed or client is None or server is None:
            return None
        extension = find(client.extensions, _SESSION_TICKET)
        ticket = bytes.fromhex(extension.value) if extension is not None and isinstance(extension.value, str) else b""
        found = self._log.by_ticket.get(ticket) or self._log.by_session.get(server.session_id)
        if found is not None:
            self._labels["of the earlier session"] = None
        return found

    def remember(self, state: Handshake, ticket: bytes) -> None:
        """Keep the master secret for connections that resume this session; an attacker with the key log would too."""
        server = state.server_hello
        if state.master is None or state.is_1_3:
            return
        if ticket and len(self._log.by_ticket) < _MAX_REMEMBERED:
            self._log.by_ticket[ticket] = state.master
        if server is not None and server.session_id and len(self._log.by_session) < _MAX_REMEMBERED:
            self._log.by_session.setdefault(server.session_id, state.master)

    def _from_premaster(self, state: Handshake, premaster: bytes) -> bytes | None:
        client, server, keys = state.client_hello, state.server_hello, state.keys
        if client is None or server is None or keys is None:
            return None
        session_hash = None
        if self._facts.extended_master_secret:
            if state.session_hash_end is None or not state.whole:
                return None
            session_hash = transcript_hash(bytes(state.transcript[: state.session_hash_end]), keys.hash)
        return master_secret(premaster, client.random, server.random, session_hash, keys.hash)

    def _compare(self, state: Handshake, computed: bytes, master: bytes) -> Check:
        seed = "the hash of the handshake (extended)" if self._facts.extended_master_secret else "both randoms"
        same = hmac.compare_digest(computed, master)
        text = f"the master secret {'follows' if same else 'does NOT follow'} from the premaster secret and {seed}"
        return Check("master_secret", Outcome.OK if same else Outcome.BAD, text)

    def check_finished(self, state: Handshake, side: Side, transcript: bytes, wire: bytes) -> Check:
        """Compute Finished anew."""
        key = f"{side.sender}_finished"
        wanted = self._finished(state, side, transcript)
        if wanted is None or not state.whole:
            return Check(key, Outcome.UNKNOWN, "messages or secrets are missing, so Finished cannot be computed")
        same = hmac.compare_digest(wanted, wire)
        how = (
            "the PRF over the hash of all messages before" if not state.is_1_3 else "HMAC over the hash of all messages"
        )
        text = (
            f"computed anew ({how}): equal, nobody changed anything"
            if same
            else f"computed anew ({how}): NOT EQUAL, somebody changed a message or the key log is of another session"
        )
        values = {"computed": wanted.hex(), "wire": wire.hex()}
        return Check(key, Outcome.OK if same else Outcome.BAD, text, dict(values))

    def _finished(self, state: Handshake, side: Side, transcript: bytes) -> bytes | None:
        if state.keys is None:
            return None
        if not state.is_1_3:
            if state.master is None:
                return None
            return finished_1_2(state.master, transcript, side.sender == "client", state.keys.hash)
        secret = side.epochs[0].secret if side.epochs else None
        return finished_1_3(secret, transcript, state.keys.hash) if secret is not None else None

    def update(self, state: Handshake, side: Side) -> None:
        """This side's next record is under the next key."""
        if not side.epochs or side.epochs[0].secret is None or state.keys is None:
            return
        secret = next_traffic_secret(side.epochs[0].secret, state.keys.hash)
        side.epochs = [Epoch("application", protection_1_3(state.keys, secret), secret)]

    def take_premaster_check(self) -> list[Check]:
        """The comparison of premaster and master secret, once."""
        check, self._premaster_check = self._premaster_check, None
        return [check] if check is not None else []

    def judge(self) -> None:
        """Say what the key log was good for."""
        encrypted = sum(side.encrypted_records for side in self._sides.values())
        decrypted = sum(side.decrypted_records for side in self._sides.values())
        state, text = self._state(encrypted, decrypted)
        self._facts.key_log = KeyLogUse(state, list(self._labels), decrypted, encrypted, text)

    def _state(self, encrypted: int, decrypted: int) -> tuple[str, str]:
        if not self._log.lines:
            return "none", "no key log: what is encrypted stays closed, and only its sizes are known"
        if not self._labels:
            random = self._facts.client_random
            which = f"(client random {random})" if random else "(its ClientHello is not in the capture)"
            return "absent", f"the key log knows nothing of this connection {which}; was it written by another run?"
        if encrypted and not decrypted:
            return (
                "wrong",
                "the key log names this connection, but its secrets open nothing: it was changed or is damaged",
            )
        if decrypted < encrypted:
            return "partial", f"{decrypted} of {encrypted} encrypted records were opened; the key log lacks secrets"
        return "used", f"all {encrypted} encrypted records were opened"
