# -*- test-case-name: tests.transport.test_driver -*-
"""Feeds the core and carries out what it wants. On the path of each read: nothing here is done per message.

All connections that the core touched in one reactor turn are written at its end, one write each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mqttsecure.core.broker import BrokerCore
from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import ConnectionFacts, Pending, Request, Verdict
from mqttsecure.core.events import Event
from mqttsecure.core.limits import Limits
from mqttsecure.transport.keeping import Keeping
from mqttsecure.transport.strikes import Strikes
from mqttsecure.wire.constants import ReasonCode

__all__ = ["Adapter", "Chain", "CoreDriver"]

_log = Logger()

_MANY: Final = 256
"""Connections written in one turn from which on it is worth to look at the clock."""

_SLICE: Final = 0.01
"""Seconds for which judging again may hold up the reactor at a time: a message waits no longer than for a flush."""

_LONG_SLICE: Final = 0.04
"""The same when time is running out: who is still in without the right to be weighs more than a delay."""

_GATHER: Final = 0.05
"""Seconds in which requests to judge connections again are gathered: an attack brings many bans."""

_LONG: Final = 0.002
"""Seconds of writing after which the next round rests; shorter rounds cost nobody a delay worth the name."""


class Chain(Protocol):
    """The part of the policy chain that is used here."""

    def decide(self, request: Request) -> Verdict | Pending: ...

    def connection_opened(self, connection: ConnectionFacts) -> None: ...

    def connection_authenticated(self, connection: ConnectionFacts) -> None: ...

    def connection_closed(self, connection: ConnectionFacts) -> None: ...

    def strike(self, connection: ConnectionFacts, weight: int, why: str) -> None: ...


class Adapter(Protocol):
    """What the driver asks of a connection's protocol."""

    @property
    def facts(self) -> ConnectionFacts: ...

    def flush(self) -> None: ...

    def abort(self) -> None: ...


class Gate(Protocol):
    """What it asks of a connection whose ACCEPT verdict is pending."""

    def abort(self) -> None: ...


class Handover:
    """Two chains while one takes over from the other: the old one decides, and both hear of connections."""

    def __init__(self, old: Chain, new: Chain) -> None:
        self._old = old
        self._new = new
        self._told: set[int] = set()
        self.decide = old.decide
        self.strike = old.strike

    def tell(self, connection: ConnectionFacts) -> None:
        """Tell the new chain of a connection that was there before, unless it has heard of it."""
        if connection.connection_id not in self._told:
            self._told.add(connection.connection_id)
            self._new.connection_opened(connection)
            if connection.principal is not None:
                self._new.connection_authenticated(connection)

    def connection_opened(self, connection: ConnectionFacts) -> None:
        self._told.add(connection.connection_id)
        self._old.connection_opened(connection)
        self._new.connection_opened(connection)

    def connection_authenticated(self, connection: ConnectionFacts) -> None:
        self._old.connection_authenticated(connection)
        if connection.connection_id in self._told:
            self._new.connection_authenticated(connection)

    def connection_closed(self, connection: ConnectionFacts) -> None:
        self._old.connection_closed(connection)
        if connection.connection_id in self._told:
            self._told.discard(connection.connection_id)
            self._new.connection_closed(connection)


class CoreDriver:
    """Runs one :class:`~mqttsecure.core.broker.BrokerCore` on a reactor.

    Args:
        limits: for the core.
        chain: answers the core's questions, and those asked before a connection reaches it.
        clock: the reactor.
        random_bytes: unpredictable bytes.
        acknowledge_denied, reason_strings: see ``BrokerCore``.
        report: gets what happened, at the end of each turn.

    ``keeping`` has a store keep what is durable, None where nothing is.

    ``last_rejudging`` is how long it took to judge everything again after the last change of policy, and
    ``longest_slice`` the longest time, both in seconds, for which that ever held up everything else.
    """

    def __init__(
        self,
        limits: Limits,
        chain: Chain,
        clock: IReactorTime,
        random_bytes: Callable[[int], bytes],
        acknowledge_denied: Sequence[str] = (),
        report: Callable[[list[Event]], None] = lambda events: None,
        reason_strings: Sequence[str] = (),
    ) -> None:
        self.chain = chain
        self.clock = clock
        self.core = BrokerCore(limits, self._decide, random_bytes, acknowledge_denied, reason_strings)
        self.core.observe_authenticated(lambda facts: self.chain.connection_authenticated(facts))
        self.limits = limits
        self._report = report
        self._strikes = Strikes(lambda facts, weight, why: self.chain.strike(facts, weight, why))
        self.is_stopping = False
        self._flush_is_due = False
        self._flush_call: IDelayedCall | None = None
        self._not_before = 0.0
        self._timer: IDelayedCall | None = None
        self._last_connection_id = 0
        self.adapters: set[Adapter] = set()
        self.gates: set[Gate] = set()
        self._all_gone: Deferred[None] | None = None
        self._rejudged: list[tuple[float, Deferred[float]]] = []
        self._requested: set[int] | None = set()
        self._requested_call: IDelayedCall | None = None
        self.slowest_rejudging = 0.0
        self.late_rejudgings = 0
        self.last_rejudging = 0.0
        self.longest_slice = 0.0
        self.keeping: Keeping | None = None

    # -- questions -----------------------------------------------------------------------------------------------

    def _decide(self, request: Request) -> Verdict | Pending:
        answer = self.chain.decide(request)
        if isinstance(answer, Pending):
            answer.listener = self._verdict_came
        return answer

    def _verdict_came(self, pending: Pending, verdict: Verdict) -> None:
        try:
            self.core.verdict(pending, verdict, self.clock.seconds())
        except Exception:  # our own fault: no connection of others may suffer for it
            self._internal_error()
        self.schedule_flush()

    # -- other policies ------------------------------------------------------------------------------------------

    @property
    def is_changing(self) -> bool:
        """Whether new policies are being told of the connections there are."""
        return isinstance(self.chain, Handover)

    def change_policy(
        self,
        chain: Chain,
        version: int,
        limits: Limits,
        acknowledge_denied: Sequence[str] = (),
        reason_strings: Sequence[str] = (),
    ) -> Deferred[float]:
        """Put another chain and other limits in force, in one step, and have all that lives judged by them.

        The new policies hear of the connections there are first, so that what they count is right from the start;
        until they have, the old ones decide.

        Returns:
            See :meth:`rejudge`.

        Raises:
            RuntimeError: the last change is still under way.
        """
        if self.is_changing:
            raise RuntimeError("the last change of policy is still under way")
        started = self.clock.seconds()
        handover = self.chain = Handover(self.chain, chain)
        done: Deferred[float] = Deferred()

        def told() -> None:
            self.chain = chain
            self.limits = limits
            self.core.change_policy(version)
            self.core.change_limits(limits)
            self.core.state.acknowledge_denied = frozenset(acknowledge_denied)
            self.core.state.reason_strings = frozenset(reason_strings)
            self.rejudge(since=started).chainDeferred(done)

        self._tell_of_connections(handover, iter(list(self.adapters)), told)
        return done

    def _tell_of_connections(self, handover: Handover, adapters: Iterator[Adapter], told: Callable[[], None]) -> None:
        """Tell the new policies of connections, not of those at the gates, which are not admitted yet."""
        started = self.clock.seconds()
        for adapter in adapters:
            if adapter in self.adapters:
                handover.tell(adapter.facts)
            if self.clock.seconds() - started > _SLICE:
                self.longest_slice = max(self.longest_slice, self.clock.seconds() - started)
                self.clock.callLater(0, self._tell_of_connections, handover, adapters, told)
                return
        told()

    def request_rejudging(self, connection_ids: Iterable[int] | None = None) -> None:
        """Have these connections judged again, or all that lives, in a moment: many requests cost one round."""
        if connection_ids is None:
            self._requested = None
        elif self._requested is not None:
            self._requested.update(connection_ids)
        if self._requested_call is None and not self.is_stopping:
            self._requested_call = self.clock.callLater(_GATHER, self._rejudge_requested)

    def _rejudge_requested(self) -> None:
        self._requested_call = None
        requested, self._requested = self._requested, set()
        if requested is None:
            self.rejudge()
        else:
            self.rejudge([each for each in self.core.state.connections if each.facts.connection_id in requested])

    def rejudge(
        self, connections: Iterable[Connection] | None = None, *, since: float | None = None
    ) -> Deferred[float]:
        """Have these judged again, or everything, in slices between which the reactor does other things.

        Args:
            connections: those, or None for everything.
            since: when that became due, if it was before now.

        Returns:
            A Deferred of the seconds that it took, once all has been asked about.
        """
        self.core.rejudge(connections)
        done: Deferred[float] = Deferred()
        self._rejudged.append((self.clock.seconds() if since is None else since, done))
        if len(self._rejudged) == 1:
            self._rejudge_slice()
        return done

    def _rejudge_slice(self) -> None:
        started = self.clock.seconds()
        is_urgent = started - self._rejudged[0][0] > self.limits.revocation_timeout / 4
        longest, more = _LONG_SLICE if is_urgent else _SLICE, True
        while more and self.clock.seconds() - started < longest:
            try:
                more = self.core.rejudge_step(self.clock.seconds())
            except Exception:  # one that cannot be judged does not keep the others from it
                self._internal_error()
        self.longest_slice = max(self.longest_slice, self.clock.seconds() - started)
        self.schedule_flush()
        if more:
            self.clock.callLater(0, self._rejudge_slice)
            return
        finished, self._rejudged = self._rejudged, []
        for since, done in finished:
            self.last_rejudging = self.clock.seconds() - since
            self._note_rejudging(self.last_rejudging)
            done.callback(self.last_rejudging)

    def _note_rejudging(self, seconds: float) -> None:
        self.slowest_rejudging = max(self.slowest_rejudging, seconds)
        if seconds > self.limits.revocation_timeout:
            self.late_rejudgings += 1
            _log.warn(
                "judging again took {seconds:.3f} s, longer than `revocation_timeout` of {bound:g} s; the machine is "
                "busy, or has too many clients",
                seconds=seconds,
                bound=self.limits.revocation_timeout,
            )

    def next_connection_id(self) -> int:
        """A number for a new connection, never used before."""
        self._last_connection_id += 1
        return self._last_connection_id

    # -- what connections bring ----------------------------------------------------------------------------------

    def receive(self, connection: Connection, data: bytes) -> None:
        """Feed the core."""
        try:
            self.core.receive_bytes(connection, data, self.clock.seconds())
        except Exception:  # a bug of ours closes this connection; the broker runs on
            self._internal_error()
            self.end(connection, ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR, "an internal error")
        if not self._flush_is_due and (
            self.core.state.touched or self.core.state.events or (self.keeping is not None and self.keeping.is_due)
        ):
            self.schedule_flush()

    def lost(self, connection: Connection) -> None:
        """The network connection is gone."""
        try:
            self.core.connection_lost(connection, self.clock.seconds())
        except Exception:
            self._internal_error()
            self.core.state.connections.discard(connection)  # it is gone, whatever could not be done about it
            connection.cancel_deadlines()
        self.schedule_flush()

    def end(self, connection: Connection, reason_code: int, text: str) -> None:
        """Close a connection from outside the core."""
        try:
            self.core.close(connection, reason_code, text, self.clock.seconds())
        except Exception:
            self._internal_error()
            connection.closing = True
            self.core.state.touch(connection)
        self.schedule_flush()

    def press(self, level: int) -> None:
        """See :meth:`BrokerCore.press`; from 1 on no new connections are taken either."""
        self.core.press(level)
        self.schedule_flush()

    def relieve(self, octets: int) -> int:
        """See :meth:`BrokerCore.relieve`."""
        try:
            return self.core.relieve(octets, self.clock.seconds())
        except Exception:
            self._internal_error()
            return 0
        finally:
            self.schedule_flush()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish as the broker itself."""
        try:
            self.core.publish(topic, payload, self.clock.seconds(), retain=retain)
        except Exception:
            self._internal_error()
        self.schedule_flush()

    def close_all(self, patience: float) -> Deferred[None]:
        """Close all connections with 0x8B; fires when they are gone, or aborted after ``patience`` seconds."""
        self.is_stopping = True
        self.core.shut_down(self.clock.seconds())
        self.flush()
        self.stop()
        for gate in list(self.gates):
            gate.abort()
        done: Deferred[None] = Deferred()
        if not self.connections:
            done.callback(None)
            return done
        self._all_gone = done
        timeout = self.clock.callLater(patience, self._abort_all)
        done.addBoth(lambda result: timeout.cancel() if timeout.active() else None)
        return done

    def _abort_all(self) -> None:
        for adapter in list(self.adapters):
            adapter.abort()

    def arrived(self, adapter: Adapter) -> None:
        """A connection's adapter is in use from now on."""
        self.adapters.add(adapter)

    @property
    def connections(self) -> int:
        """How many there are, those included that wait to be let in or to be gone."""
        return len(self.adapters) + len(self.gates)

    def waits(self, gate: Gate) -> None:
        """A connection waits for its ACCEPT verdict, unknown to policies and core."""
        self.gates.add(gate)

    def waited(self, gate: Gate) -> None:
        """It does so no more."""
        self.gates.discard(gate)
        self._check_all_gone()

    def left(self, adapter: Adapter) -> None:
        """Its connection is gone."""
        self.adapters.discard(adapter)
        self._check_all_gone()

    def _check_all_gone(self) -> None:
        if not self.connections and self._all_gone is not None:
            self.flush()  # what there is still to report
            self.stop()
            done, self._all_gone = self._all_gone, None
            done.callback(None)

    def _internal_error(self) -> None:
        self.core.counters.internal_errors += 1
        _log.failure("internal error; please report it")

    # -- what the core wants -------------------------------------------------------------------------------------

    def schedule_flush(self) -> None:
        """Have :meth:`flush` run once, after all that this turn still brings."""
        if not self._flush_is_due:
            self._flush_is_due = True
            delay = 0.0
            if self._not_before:
                delay = max(0.0, self._not_before - self.clock.seconds())
                self._not_before = 0.0
            self._flush_call = self.clock.callLater(delay, self.flush)

    def flush(self) -> None:
        """Write outboxes, close and pause connections, hand on events, set the timer.

        Each connection gets one turn: one that takes whatever is sent may have a long queue, and others wait.
        """
        self._flush_is_due = False
        core = self.core
        if self.keeping is not None and self.keeping.is_due:
            self._keep(self.keeping)  # first: what it lets go of is written below
        touched = core.take_touched()
        started = self.clock.seconds() if len(touched) > _MANY else 0.0
        for connection in touched:
            adapter = connection.adapter
            if adapter is not None:
                try:
                    adapter.flush()
                except Exception:  # a bug of ours ends this connection; the others are written
                    self._internal_error()
                    adapter.abort()
        if started:
            self._rest(started)
        if core.state.events:
            self._tell(core.take_events())
        if core.state.touched:
            self.schedule_flush()
        self._set_timer()

    def _keep(self, keeping: Keeping) -> None:
        try:
            keeping.turn_ended()
        except Exception:  # a bug of ours; acknowledgements go on waiting, which is the safe side
            self._internal_error()

    def _tell(self, events: list[Event]) -> None:
        try:
            self._strikes.take(events, self.clock.seconds())
            self._report(events)
        except Exception:
            self._internal_error()

    def _rest(self, started: float) -> None:
        """After writing to a multitude, let messages for the same readers gather before writing to all of them again.

        A quarter of what the writing took adds little to a delay of that size, and saves whole rounds of writing.
        """
        now = self.clock.seconds()
        if now - started > _LONG:
            self._not_before = now + (now - started) / 4

    def _set_timer(self) -> None:
        due = self.core.next_deadline()
        timer = self._timer
        if due is None or self.is_stopping:
            return
        if timer is not None and timer.active():
            if timer.getTime() <= due:
                return  # an early call finds nothing due and sets the timer anew
            timer.cancel()
        self._timer = self.clock.callLater(max(0.0, due - self.clock.seconds()), self._expire)

    def _expire(self) -> None:
        self._timer = None
        try:
            self.core.expire(self.clock.seconds())
        except Exception:
            self._internal_error()
        self.flush()

    def stop(self) -> None:
        """Leave no call behind."""
        for call in (self._timer, self._flush_call, self._requested_call):
            if call is not None and call.active():
                call.cancel()
        self._timer = self._flush_call = self._requested_call = None
        self._flush_is_due = False
