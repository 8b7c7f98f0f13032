# -*- test-case-name: tests.lab.attacks.test_table -*-
"""Reading and writing what one may not: rows A1 to A8."""

from __future__ import annotations

from mqttsecure.lab.attacks.client import AttackClient, Unexpected
from mqttsecure.lab.attacks.dialling import dial, login, marker, refused_words
from mqttsecure.lab.attacks.outcome import Outcome, Seen, resisted, succeeded
from mqttsecure.lab.attacks.target import Target
from mqttsecure.wire.constants import MQTT_5_0
from mqttsecure.wire.packets import Connack, Will

__all__ = ["alias", "anonymous", "forbidden_filters", "forbidden_publish", "forbidden_retained", "forbidden_will",
           "shared_filter", "wrong_password"]  # fmt: skip


def _code_of_connect(client: AttackClient, *arguments: str, **more: object) -> int | None:
    """The CONNACK's code; None where the broker closed without a word."""
    try:
        return client.connect(*arguments, **more)  # type: ignore[arg-type]  # as the caller has them
    except Unexpected:
        return None


def anonymous(target: Target) -> Seen:
    """A1: no user name, no password."""
    with dial(target) as client:
        code = _code_of_connect(client, "anonymous")
        if code is None:
            return resisted("closed without a CONNACK")
        if code:
            return resisted(f"CONNECT refused, {refused_words(code, target.version)}")
        try:
            granted = client.subscribe("#")[0] < 0x80
        except (Unexpected, TimeoutError):
            granted = False
        return succeeded("let in without a password" + (", and subscribed to everything" if granted else ""))


def wrong_password(target: Target) -> Seen:
    """A2: a user that is known, and a guess."""
    seen = []
    for name, password in ((target.writer.name, "wrong"), ("nobody-of-that-name", "wrong"), (target.writer.name, "")):
        with dial(target) as client:
            code = _code_of_connect(client, target.writer.name, name, password)
        if code == 0:
            return succeeded(f"let in as {name!r} with a wrong password")
        seen.append("closed" if code is None else refused_words(code, target.version))
    return resisted(f"wrong, unknown user, empty: {', '.join(seen)}")


def forbidden_filters(target: Target) -> Seen:
    """A3: everything, in every way one can think of."""
    filters = ("#", "+/x", f"{target.forbidden}/#", "$SYS/#")
    return _try_filters(target, filters)


def shared_filter(target: Target) -> Seen:
    """A4: the same behind a shared subscription."""
    return _try_filters(target, (f"$share/g/{target.forbidden}/#",))


def _try_filters(target: Target, filters: tuple[str, ...]) -> Seen:
    granted = []
    for each in filters:
        with login(target, target.reader) as client:
            try:
                if client.subscribe(each)[0] < 0x80:
                    granted.append(each)
            except (Unexpected, TimeoutError):
                continue  # closed: refused all the same
    if granted:
        return succeeded(f"SUBACK grants {', '.join(granted)} to {target.reader.name}")
    return resisted("refused in SUBACK")


def _publish(client: AttackClient, topic: str, payload: bytes, *, retain: bool = False) -> int | None:
    try:
        return client.publish(topic, payload, retain=retain)
    except Unexpected:
        return None


def forbidden_publish(target: Target) -> Seen:
    """A5: the reader writes, where it may only read."""
    payload = marker()
    topic = f"{target.topics}/written-by-the-reader"
    with login(target, target.writer) as witness, login(target, target.reader) as client:
        witness.subscribe(f"{target.topics}/#")
        code = _publish(client, topic, payload)
        arrived = any(each[1] == payload for each in witness.messages())
    if arrived:
        return succeeded(f"{target.reader.name} may only read, and the message was delivered")
    if code == 0 and target.version == MQTT_5_0:
        return Outcome.UNCLEAR, "acknowledged as if it were well, and silently dropped: the publisher is not told"
    return resisted("closed" if code is None else f"PUBACK {refused_words(code, target.version)}, not delivered")


def forbidden_retained(target: Target) -> Seen:
    """A6: a retained message that waits for whoever comes."""
    payload = marker()
    topic = f"{target.topics}/retained-by-the-reader"
    with login(target, target.reader) as client:
        _publish(client, topic, payload, retain=True)
    with login(target, target.writer) as witness:
        witness.subscribe(topic)
        stored = any(each[1] == payload for each in witness.messages())
    return succeeded("stored, and delivered to the next subscriber") if stored else resisted("not stored")


def forbidden_will(target: Target) -> Seen:
    """A7: the broker itself is to publish it, when the attacker vanishes."""
    payload = marker()
    topic = f"{target.topics}/will-of-the-reader"
    with login(target, target.writer) as witness:
        witness.subscribe(f"{target.topics}/#")
        with dial(target) as client:
            code = _code_of_connect(
                client, target.reader.name, target.reader.name, target.reader.password, will=Will(topic, payload, 1)
            )
        came = [each for each in witness.collect(1.5) if getattr(each, "payload", None) == payload]
    if came:
        return succeeded("the broker published it for the attacker")
    if code == 0:
        return Outcome.UNCLEAR, "accepted in CONNECT, dropped later: the client is not told"
    return resisted("CONNECT " + ("closed" if code is None else f"refused, {refused_words(code, target.version)}"))


def alias(target: Target) -> Seen:
    """A8: an alias that a denied message has set is used without its topic."""
    if target.version != MQTT_5_0:
        return Outcome.NOT_TRIED, "needs MQTT 5.0"
    payload = marker()
    with login(target, target.writer) as witness, login(target, target.reader) as client:
        witness.subscribe(f"{target.topics}/#")
        connack = client.connack
        if not isinstance(connack, Connack) or not connack.properties.get("topic_alias_maximum"):
            return resisted("the broker takes no Topic Aliases")
        try:
            client.publish(f"{target.topics}/aliased", payload, topic_alias=1)
            client.publish("", payload, topic_alias=1)
        except Unexpected:
            pass
        arrived = any(each[1] == payload for each in witness.messages())
    return (
        succeeded("the alias was kept, and the message delivered")
        if arrived
        else resisted("refused; nothing delivered")
    )
