"""Each message explained: what it is, why it matters, where the specification says it, what an attacker sees."""

from __future__ import annotations

from mqttsecure.lab.model import Explanation, Message, TlsFacts


def explain(message: Message, facts: TlsFacts | None) -> Explanation | None:
    return None
