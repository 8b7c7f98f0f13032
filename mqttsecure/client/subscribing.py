# -*- test-case-name: tests.client.test_machine -*-
"""SUBSCRIBE and UNSUBSCRIBE: asked until they are answered, and made again where the broker has forgotten them."""

from __future__ import annotations

from typing import Final, cast

from mqttsecure.client.channel import Channel
from mqttsecure.client.events import Answered, Granted
from mqttsecure.client.failures import OptionsInvalid, QueueFull, SubscribeRefused
from mqttsecure.client.reasons import is_refusal, refusal_words
from mqttsecure.client.session import MAXIMUM_REQUESTS, Request, Session
from mqttsecure.errors import EncodeError, ProtocolError
from mqttsecure.wire.constants import MQTT_5_0
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Properties, Suback, Subscribe, SubscriptionRequest, Unsuback, Unsubscribe

__all__ = ["Subscribing"]

_AGAIN: Final = 100
"""Topic Filters in one SUBSCRIBE of our own: far below any broker's packet size with usual filters."""


class Subscribing:
    """The subscriptions of one client over any number of connections."""

    def __init__(self, session: Session, channel: Channel) -> None:
        self._session = session
        self._channel = channel

    def ask(self, token: int, packet: Subscribe | Unsubscribe, *, is_connected: bool) -> None:
        """Ask now, or when there is a connection.

        Raises:
            OptionsInvalid: it cannot be asked.
            QueueFull: too many have no answer yet.
        """
        if len(self._session.requests) >= MAXIMUM_REQUESTS:
            raise QueueFull(
                f"{MAXIMUM_REQUESTS} subscriptions have no answer yet", "wait for earlier ones to be answered"
            )
        try:
            encode_packet(packet, self._channel.version)
        except EncodeError as error:
            raise OptionsInvalid(f"{type(packet).__name__.upper()} cannot be sent: {error}", "mend it") from error
        self._number(Request(token, packet))
        if is_connected:
            self._channel.send(packet)

    def _number(self, request: Request) -> None:
        request.packet.packet_id = self._session.new_id()
        self._session.requests[request.packet.packet_id] = request

    def resume(self, session_present: bool) -> None:
        """A connection is there: ask what has no answer, and again for what the broker has forgotten."""
        requests = list(self._session.requests.values())
        self._session.requests.clear()
        if not session_present:
            requests = self._again() + [each for each in requests if each.token is not None]
        for request in requests:
            self._number(request)
            self._channel.send(request.packet)

    def _again(self) -> list[Request]:
        """SUBSCRIBE packets for all that was granted, those with one Subscription Identifier together."""
        by_identifier: dict[int, list[SubscriptionRequest]] = {}
        for subscription, identifier in self._session.subscriptions.values():
            by_identifier.setdefault(identifier, []).append(subscription)
        found = []
        for identifier, subscriptions in by_identifier.items():
            for first in range(0, len(subscriptions), _AGAIN):
                properties: Properties = {"subscription_identifier": [identifier]} if identifier else {}
                found.append(Request(None, Subscribe(1, subscriptions[first : first + _AGAIN], properties)))
        return found

    def on_suback(self, packet: Suback) -> None:
        """The broker has granted or refused.

        Raises:
            SubscribeRefused: what it had granted before, so that nobody waits for an answer that could tell it.
        """
        request = self._requested(packet.packet_id, Subscribe, len(packet.reason_codes))
        asked = cast(Subscribe, request.packet)
        identifier = asked.properties.get("subscription_identifier", [0])[0]
        codes = {}
        for subscription, code in zip(asked.subscriptions, packet.reason_codes, strict=True):
            codes[subscription.topic_filter] = code
            if is_refusal(code):
                self._session.subscriptions.pop(subscription.topic_filter, None)
            else:
                self._session.subscriptions[subscription.topic_filter] = (subscription, identifier)
        self._answer(request, codes, packet.properties, "subscription to")

    def on_unsuback(self, packet: Unsuback) -> None:
        """The broker has ended subscriptions, or refused to."""
        count = len(packet.reason_codes) if self._channel.version == MQTT_5_0 else None
        request = self._requested(packet.packet_id, Unsubscribe, count)
        topic_filters = cast(Unsubscribe, request.packet).topic_filters
        codes = dict(zip(topic_filters, packet.reason_codes or [0] * len(topic_filters), strict=True))
        for topic_filter, code in codes.items():
            if not is_refusal(code):
                self._session.subscriptions.pop(topic_filter, None)
        self._answer(request, codes, packet.properties, "end of the subscription to")

    def _requested(self, packet_id: int, kind: type, codes: int | None) -> Request:
        request = self._session.requests.get(packet_id)
        if request is None or not isinstance(request.packet, kind):
            raise ProtocolError(f"an answer to the {kind.__name__.upper()} {packet_id}, which was not asked")
        packet = request.packet
        asked = len(packet.subscriptions if isinstance(packet, Subscribe) else packet.topic_filters)
        if codes is not None and codes != asked:
            # v5.0 [MQTT-3.8.4-6], [MQTT-3.11.3-1]
            raise ProtocolError(f"{codes} codes in answer to {asked} Topic Filters")
        return self._session.requests.pop(packet_id)

    def _answer(self, request: Request, codes: dict[str, int], properties: Properties, what: str) -> None:
        refused = {topic_filter: code for topic_filter, code in codes.items() if is_refusal(code)}
        if not refused:
            if request.token is not None:
                self._channel.events.append(Answered(request.token, Granted(codes, properties)))
            return
        topic_filter, code = next(iter(refused.items()))
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        said = properties.get("reason_string", "")
        cause, mend = refusal_words(code, f"the {what} {topic_filter!r}{more}", said)
        error = SubscribeRefused(cause, mend, reason_code=code, reason_codes=codes)
        if request.token is None:
            raise error
        self._channel.events.append(Answered(request.token, None, error))
