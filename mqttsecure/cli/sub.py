# -*- test-case-name: tests.cli.test_sub -*-
"""``mqttsecure sub``: messages to stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import click
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mqttsecure.cli.client_exit import EXIT_CODES_HELP, EXIT_INTERRUPTED, EXIT_TIME_IS_UP
from mqttsecure.cli.client_options import DURATION, client_options, need_mqtt_5, options_of, problem_words
from mqttsecure.cli.client_properties import properties_of
from mqttsecure.cli.client_run import EndWith, counted, run, tell_change
from mqttsecure.cli.message_format import Template, message_as_json
from mqttsecure.cli.output import EXIT_OK, EXIT_PROBLEMS, json_option, print_problems
from mqttsecure.cli.standard_output import StandardOutput
from mqttsecure.client.client import Client, connect
from mqttsecure.client.events import Message
from mqttsecure.client.failures import ClientError, OptionsInvalid
from mqttsecure.client.options import ClientOptions
from mqttsecure.errors import ConfigError, MqttError
from mqttsecure.wire.constants import PacketType
from mqttsecure.wire.packets import SubscriptionRequest
from mqttsecure.wire.topics import check_topic_filter, matches

__all__ = ["sub"]

_PLAIN: Final = "{payload}"
_VERBOSE: Final = "{topic} {payload}"


@click.command(epilog=EXIT_CODES_HELP)
@click.option(
    "-t", "--topic", "filters", multiple=True, required=True, help="Topic Filter; may be given several times."
)
@click.option("-T", "--filter-out", multiple=True, help="Topic Filter of what is not to be shown.")
@click.option("-q", "--qos", type=click.IntRange(0, 2), default=0, show_default=True, help="Largest QoS.")
@click.option("-C", "--count", type=click.IntRange(1), help="End after so many messages.")
@click.option("-W", "--wait", type=DURATION, help="End after that time, with 9 where --count was not reached.")
@click.option("-F", "--format", "template", help="How to show a message; see below.")
@click.option("-v", "--verbose", is_flag=True, help="Show the topic, too.")
@click.option("-N", "--no-newline", is_flag=True, help="No end of line behind a message.")
@click.option("-R", "--no-retained", is_flag=True, help="Show no retained messages.")
@click.option("--retain-as-published", is_flag=True, help="Show whether a message was published as retained.")
@click.option("--retain-handling", type=click.IntRange(0, 2), default=0, help="0 retained ones, 1 if new, 2 none.")
@click.option("--no-local", is_flag=True, help="Not what this same client publishes.")
@click.option("-D", "--property", "properties", nargs=2, multiple=True, metavar="NAME VALUE", help="Of SUBSCRIBE.")
@json_option
@client_options
@click.pass_context
def sub(context: click.Context, /, **given: Any) -> None:
    """Subscribe, and write messages to stdout; on a lost connection wait, come back, and go on.

    The broker's certificate is verified before anything is sent. Payloads go out byte by byte; on a terminal what could
    steer it is written out instead.

    \b
    Examples:
      mqttsecure sub -t 'lab/#' -v -u alice -i alice-sub --cafile certs/ca.pem
      mqttsecure sub -L mqtts://broker.example -t 'lab/#' -u alice --auth scram
      mqttsecure sub -L mqtts://broker.example -t 'plant/+/temperature' -q 1 --json | jq .payload
      mqttsecure sub -t lab/image -C 1 -N > image.png
      mqttsecure sub -t jobs -q 2 -i worker-1 -x 7d -c            a session that survives
      mqttsecure sub -t 'lab/#' -F '{time} {topic} qos {qos}: {payload:hex} {user:unit}'

    \b
    Fields of --format:
      {topic} {payload} {payload:hex} {payload:base64} {payload:json} {length}
      {qos} {retain} {dup} {time} {time:unix} {properties} {property:NAME} {user:NAME} {json}
    """
    try:
        need_mqtt_5(given, "properties", "no_local", "retain_as_published", "retain_handling")
        for each in (*given["filters"], *given["filter_out"]):
            _check_filter(each)
        job = _Subscriber(given, options_of(given), _showing(given))
    except (ClientError, ConfigError) as error:
        print_problems(problem_words(error))
        context.exit(EXIT_PROBLEMS)
    except KeyboardInterrupt:  # while a password is waited for; click would make it 1
        context.exit(EXIT_INTERRUPTED)
    context.exit(run(job.program))


def _check_filter(topic_filter: str) -> None:
    try:
        check_topic_filter(topic_filter)
    except MqttError as error:
        raise OptionsInvalid(f"{topic_filter!r}: {error}", "mend that Topic Filter") from None


def _showing(given: dict[str, Any]) -> Callable[[Message], bytes]:
    """What makes the bytes of a message."""
    if given["as_json"]:
        if given["template"] is not None:
            raise OptionsInvalid("--json and --format exclude each other", "use {json} in the format")
        return lambda message: message_as_json(message, datetime.now(UTC))
    template = given["template"] or (_VERBOSE if given["verbose"] else _PLAIN)
    compiled, end = Template(template), b"" if given["no_newline"] else b"\n"
    to_terminal = sys.stdout.isatty()
    return lambda message: compiled.render(message, datetime.now(UTC), to_terminal) + end


class _Subscriber:
    """One run of the command."""

    def __init__(self, given: dict[str, Any], options: ClientOptions, show: Callable[[Message], bytes]) -> None:
        """
        Args:
            given: the options of the command line.
            options: of the client, made of them.
            show: makes the bytes of a message.
        """
        self._given = given
        self._options = options
        self._show = show
        retain_handling = given["retain_handling"] or (2 if given["no_retained"] else 0)
        self._asked = [
            SubscriptionRequest(each, given["qos"], given["no_local"], given["retain_as_published"], retain_handling)
            for each in given["filters"]
        ]
        self._properties = properties_of(given["properties"], PacketType.SUBSCRIBE)
        self._left: int | None = given["count"]
        self._enough: Deferred[None] = Deferred()
        self._is_enough = False

    async def program(self, reactor: Any) -> int:
        """Connect, subscribe, and show messages until it is enough."""
        self._reactor = reactor
        self._output = StandardOutput(sys.stdout.fileno(), reactor, os.write)
        client = await connect(
            self._given["broker"],
            reactor,
            self._options,
            on_message=self._take,
            on_change=(lambda change: None) if self._given["quiet"] else tell_change,
        )
        try:
            self._end_with(client)
            if self._given["wait"] is not None:
                reactor.callLater(self._given["wait"], self._time_is_up)
            await client.subscribe(*self._asked, properties=self._properties)
            await self._enough
        finally:
            self._enough.addErrback(lambda failure: None)  # told already, by what ended it first
            await client.disconnect()
            if client.dropped and not self._given["quiet"]:
                click.echo(f"mqttsecure: {counted(client.dropped, 'message', 'messages')} of QoS 0 dropped", err=True)
        return EXIT_OK

    def _end_with(self, client: Client) -> None:
        """Where the client ends by itself, so do we."""
        client.closed().addErrback(self._end)

    async def _take(self, message: Message) -> None:
        """Show a message; when it is written it is acknowledged, and the next one comes."""
        if self._is_enough:
            await Deferred()  # never: what is not shown is not acknowledged, and a session that lasts has it still
        if self._given["no_retained"] and message.retain:
            return
        if any(matches(each, message.topic) for each in self._given["filter_out"]):
            return
        try:
            await self._output.write(self._show(message))
        except OSError as error:
            self._end(error)
            await Deferred()  # likewise
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self._end()

    def _end(self, error: Exception | Failure | None = None) -> None:
        """Show nothing more, and end once the last message is acknowledged."""
        if not self._is_enough:
            self._is_enough = True
            end = self._enough.callback if error is None else self._enough.errback
            self._reactor.callLater(0, end, error)

    def _time_is_up(self) -> None:
        if self._left is None:
            self._end()
            return
        missing = counted(self._left, "message", "messages")
        self._end(EndWith(EXIT_TIME_IS_UP, f"mqttsecure: {missing} did not come in time"))
