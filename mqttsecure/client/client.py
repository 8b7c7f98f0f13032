# -*- test-case-name: tests.client.test_client -*-
"""``connect`` and ``Client``: an MQTT client that verifies the broker, waits where it must, comes back by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import SystemRandom
from typing import Any, Final

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from mqttsecure.client.address import Address, parse_address
from mqttsecure.client.backoff import Waits
from mqttsecure.client.consuming import Consumer, Inbox
from mqttsecure.client.dialling import Dial, dialling, unreachable
from mqttsecure.client.events import Answered, Arrived, Connected, Event, Granted, Published
from mqttsecure.client.failures import ClientClosed, ClientError, ConnectionLost
from mqttsecure.client.machine import Machine, State
from mqttsecure.client.options import ClientOptions
from mqttsecure.client.protocol import ClientProtocol
from mqttsecure.client.trust import Judge
from mqttsecure.wire.constants import ReasonCode
from mqttsecure.wire.packets import Properties, Publish, SubscriptionRequest

__all__ = ["Change", "Client", "connect"]

_STEADY: Final = 10.0
"""Seconds that a connection has to last before the next loss is a new one: a broker that takes a client and throws it
out at once is not asked ever faster."""

_RANDOM: Final = SystemRandom()


@dataclass(frozen=True, slots=True)
class Change:
    """The connection is there, or it is not.

    Attributes:
        is_connected: which of the two.
        session_present: whether the broker knew the session still.
        error: why it is not there.
        wait: seconds until the next attempt.
    """

    is_connected: bool
    session_present: bool = False
    error: ClientError | None = None
    wait: float = 0.0


def _ignore(what: object) -> None:
    """Takes messages or changes for which nobody asked."""


def connect(
    endpoint: str,
    reactor: Any,  # with TCP, time and names; no single interface has all three
    options: ClientOptions | None = None,
    *,
    on_message: Consumer = _ignore,
    on_change: Callable[[Change], object] = _ignore,
    random: Callable[[], float] = _RANDOM.random,
) -> Deferred[Client]:
    """Connect to a broker.

    Args:
        endpoint: ``mqtts://host:port``; ``mqtt://`` is plaintext and stays on this machine unless allowed.
        reactor: Twisted's.
        options: who this is, whom it trusts, how patient it is.
        on_message: takes each message; while a Deferred or coroutine that it returns is not done, no other comes.
        on_change: is told when the connection is lost and when it is back.
        random: spreads reconnecting clients; numbers from 0 up to 1.

    Returns:
        A Deferred of the connected client. It fails with a :class:`~mqttsecure.client.failures.ClientError`.
    """
    options = options or ClientOptions()
    try:
        address = parse_address(endpoint)
        dial = dialling(address, reactor, options)
    except ClientError as error:
        return fail(error)
    client = Client(address, reactor, options, dial, on_message, on_change, random)
    return client.start()


class Client:
    """One client of one broker, over as many connections as it takes. Made by :func:`connect`.

    Attributes:
        address: of the broker.
        session_present: whether the broker knew the session when it was connected last.
    """

    def __init__(
        self,
        address: Address,
        clock: Any,  # of the reactor
        options: ClientOptions,
        dial: Dial,
        on_message: Consumer,
        on_change: Callable[[Change], object],
        random: Callable[[], float],
    ) -> None:
        self.address = address
        self.session_present = False
        self._clock = clock
        self._options = options
        self._dial = dial
        self._on_change = on_change
        self._machine = Machine(options)
        self._inbox = Inbox(on_message, self._acknowledge)
        self._waits = Waits(options.backoff, random) if options.backoff is not None else None
        self._answers: dict[int, Deferred[Any]] = {}
        self._first: Deferred[Client] | None = None
        self._rooms: list[Deferred[None]] = []
        self._closings: list[Deferred[None]] = []
        self._overs: list[Deferred[None]] = []
        self._protocol: ClientProtocol | None = None
        self._dialling: Deferred[Any] | None = None
        self._waiting: IDelayedCall | None = None
        self._connected_at: float | None = None
        self._is_closing = False
        self._sent_before = 0
        self._end: ClientError | None = None
        """Why the client is over; once it is."""

    # -- what an application asks for ---------------------------------------------------------------------------------

    @property
    def client_id(self) -> str:
        """The Client Identifier, also where the broker has chosen it."""
        return self._machine.client_id

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now. What is published meanwhile waits for one."""
        return self._machine.state is State.CONNECTED

    @property
    def bytes_sent(self) -> int:
        """Bytes given to the network so far, on all connections."""
        return self._sent_before + (0 if self._protocol is None else self._protocol.bytes_sent)

    @property
    def dropped(self) -> int:
        """QoS 0 messages that were dropped since the application took them too slowly and waited for the broker."""
        return self._inbox.dropped

    def publish(
        self,
        topic: str,
        payload: bytes = b"",
        qos: int = 0,
        *,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> Deferred[Published]:
        """Publish a message.

        Returns:
            A Deferred that fires when the message has left (QoS 0) or the broker has it (1 and 2), on this connection
            or a later one. It fails with PublishRefused, NotSupported, QueueFull, SessionLost, OptionsInvalid or what
            ended the client.
        """
        message = Publish(topic, payload, qos, retain, False, 0, Properties() if properties is None else properties)
        return self._asking(lambda: self._machine.publish(message))

    def subscribe(
        self, *filters: str | SubscriptionRequest, qos: int = 0, properties: Properties | None = None
    ) -> Deferred[Granted]:
        """Subscribe to Topic Filters, with ``qos`` where they are plain strings.

        Returns:
            A Deferred of what was granted. It fails with SubscribeRefused where any was refused.
        """
        asked = [each if isinstance(each, SubscriptionRequest) else SubscriptionRequest(each, qos) for each in filters]
        return self._asking(lambda: self._machine.subscribe(asked, Properties() if properties is None else properties))

    def unsubscribe(self, *filters: str, properties: Properties | None = None) -> Deferred[Granted]:
        """End subscriptions."""
        return self._asking(lambda: self._machine.unsubscribe(filters, properties or Properties()))

    def room(self) -> Deferred[None]:
        """Fires when another message has room in the queue: for a loop that publishes without waiting for each."""
        if self._end is not None:
            return fail(self._end)
        if self._machine.session.has_room:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._rooms.append(waiting)
        return waiting

    def reauthenticate(self) -> None:
        """Prove anew who this is; a failure ends the connection.

        Raises:
            ClientError: there is no connection, or no authenticator.
        """
        self._machine.reauthenticate()
        self._turn()

    def disconnect(self, *, with_will: bool = False) -> Deferred[None]:
        """Say goodbye and close; what is not done by then fails with ClientClosed.

        Args:
            with_will: have the broker publish the will nevertheless; MQTT 5.0 only.

        Returns:
            A Deferred that fires when the connection is closed.
        """
        done: Deferred[None] = Deferred()
        if self._end is not None:
            done.callback(None)
            return done
        self._closings.append(done)
        if not self._is_closing:
            self._is_closing = True
            self._stop(ReasonCode.DISCONNECT_WITH_WILL_MESSAGE if with_will else ReasonCode.SUCCESS)
        return done

    def closed(self) -> Deferred[None]:
        """Fires when the client is over; fails with what ended it where that was not :meth:`disconnect`."""
        over: Deferred[None] = Deferred()
        if self._end is None:
            self._overs.append(over)
        else:
            self._tell_end(over)
        return over

    def _asking(self, ask: Callable[[], int]) -> Deferred[Any]:
        if self._end is not None or self._is_closing:
            return fail(self._end or ClientClosed("the client is disconnecting", "connect anew"))
        try:
            token = ask()
        except ClientError as error:
            return fail(error)
        answer: Deferred[Any] = Deferred()
        self._answers[token] = answer
        self._turn()
        return answer

    # -- connections ------------------------------------------------------------------------------------------------

    def start(self) -> Deferred[Client]:
        """Connect for the first time."""
        self._first = Deferred(self._cancelled)
        first = self._first
        self._attempt()
        return first

    def _cancelled(self, first: Deferred[Client]) -> None:
        """Nobody waits for the first connection any more."""
        self.disconnect()

    def _attempt(self) -> None:
        self._waiting = None
        deadline = self._clock.seconds() + self._options.connect_timeout
        try:
            endpoint, judge = self._dial()
        except ClientError as error:
            self.on_lost(error)
            return
        self._dialling = endpoint.connect(Factory.forProtocol(lambda: self._made(deadline, judge)))
        self._dialling.addTimeout(self._options.connect_timeout, self._clock)
        self._dialling.addCallbacks(self._dialled, self._not_dialled)

    def _made(self, deadline: float, judge: Judge | None) -> ClientProtocol:
        self._protocol = ClientProtocol(self._machine, self, self._clock, deadline, judge)
        return self._protocol

    def _dialled(self, protocol: object) -> None:
        self._dialling = None

    def _not_dialled(self, failure: Failure) -> None:
        self._dialling = None
        self._protocol = None
        self.on_lost(unreachable(failure, self.address, self._options.connect_timeout))

    def on_event(self, event: Event) -> None:
        """The machine tells something."""
        if isinstance(event, Arrived):
            self._inbox.add(event)
        elif isinstance(event, Answered):
            self._answered(event)
        elif isinstance(event, Connected):
            self._connected(event)

    def _connected(self, event: Connected) -> None:
        self._connected_at = self._clock.seconds()
        self.session_present = event.session_present
        first, self._first = self._first, None
        if first is not None:
            first.callback(self)
        else:
            self._on_change(Change(True, event.session_present))

    def _answered(self, event: Answered) -> None:
        answer = self._answers.pop(event.token)
        if event.error is None:
            answer.callback(event.value)
        else:
            answer.errback(event.error)
        if self._rooms and self._machine.session.has_room:
            rooms, self._rooms = self._rooms, []
            for room in rooms:
                room.callback(None)

    def on_lost(self, error: ClientError) -> None:
        """There is no connection, or none any more."""
        self._sent_before = self.bytes_sent
        self._protocol = None
        now = self._clock.seconds()
        if self._waits is not None and self._connected_at is not None and now - self._connected_at >= _STEADY:
            self._waits.reset()
        self._connected_at = None
        if self._is_closing:
            self._finish(ClientClosed("the client was disconnected", "connect anew"))
            return
        wait = self._next_wait(error)
        if wait is None:
            self._finish(error)
            return
        self._waiting = self._clock.callLater(wait, self._attempt)
        self._on_change(Change(False, False, error, wait))

    def _next_wait(self, error: ClientError) -> float | None:
        if not error.transient or self._waits is None or (self._first is not None and not self._options.insist):
            return None
        return self._waits.next()

    # -- the inbox --------------------------------------------------------------------------------------------------

    @property
    def inbox_is_full(self) -> bool:
        """Whether to stop reading, unless the broker owes answers."""
        return self._inbox.is_full

    @property
    def inbox_is_overfull(self) -> bool:
        """Whether to stop reading at all events."""
        return self._inbox.is_overfull

    def _acknowledge(self, arrived: Arrived, reason_code: int) -> None:
        self._machine.acknowledge(arrived, reason_code)
        self._turn()

    def _turn(self) -> None:
        if self._protocol is not None:
            self._protocol.turn()

    # -- the end ----------------------------------------------------------------------------------------------------

    def _stop(self, reason_code: int) -> None:
        protocol = self._protocol
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
            self.on_lost(ConnectionLost("the client was disconnected", "connect anew"))
        elif protocol is not None and self._dialling is None:
            self._machine.disconnect(reason_code)
            protocol.finish()
        elif self._dialling is not None:
            self._dialling.cancel()

    def _finish(self, error: ClientError) -> None:
        """It is over, because of that."""
        self._end = error
        self._inbox.close()
        self._machine.abandon(error)
        while (event := self._machine.next_event(self._clock.seconds(), read=False)) is not None:
            if isinstance(event, Answered):
                self._answered(event)
        first, self._first = self._first, None
        if first is not None:
            first.errback(error)
        for waiting in self._rooms:
            waiting.errback(error)
        for over in self._overs:
            self._tell_end(over)
        for done in self._closings:
            done.callback(None)

    def _tell_end(self, over: Deferred[None]) -> None:
        if self._is_closing or self._end is None:
            over.callback(None)
        else:
            over.errback(self._end)
