# -*- test-case-name: tests.cli.test_pub -*-
"""``mqttsecure pub``: publish messages, and end when the broker has them."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import click
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from mqttsecure.cli.client_exit import EXIT_CODES_HELP, EXIT_INTERRUPTED
from mqttsecure.cli.client_options import DURATION, client_options, need_mqtt_5, options_of, problem_words
from mqttsecure.cli.client_properties import properties_of
from mqttsecure.cli.client_run import counted, run, tell_change
from mqttsecure.cli.message_sources import Files, Lines, Repeated, Source, read_all
from mqttsecure.cli.output import EXIT_OK, EXIT_PROBLEMS, json_option, print_json, print_problems
from mqttsecure.cli.progress import Progress, Shown
from mqttsecure.client.client import Client, connect
from mqttsecure.client.events import Published
from mqttsecure.client.failures import ClientError
from mqttsecure.client.options import ClientOptions
from mqttsecure.client.reasons import name_of
from mqttsecure.client.session import prepare
from mqttsecure.errors import ConfigError
from mqttsecure.policy.secrets import open_regular
from mqttsecure.wire.constants import PacketType, ReasonCode
from mqttsecure.wire.packets import Publish

__all__ = ["pub"]

_STDIN: Final = 0


_AS_TYPED: Final = ("utf-8", "surrogateescape")
"""Gives back the very bytes of an argument, also where they are no UTF-8."""


@click.command(epilog=EXIT_CODES_HELP)
@click.option("-t", "--topic", required=True, help="Topic to publish to.")
@click.option("-m", "--message", help="The payload, as text.")
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file that is the payload; several make several messages.",
)
@click.option("-s", "--stdin-file", is_flag=True, help="All of stdin is the payload.")
@click.option("-l", "--lines", is_flag=True, help="Each line of stdin is a message, as it comes.")
@click.option("-n", "--null-message", is_flag=True, help="No payload; with -r this removes the retained message.")
@click.option("-q", "--qos", type=click.IntRange(0, 2), default=0, show_default=True, help="QoS.")
@click.option("-r", "--retain", is_flag=True, help="Have the broker retain the message.")
@click.option("--repeat", "--count", type=click.IntRange(1), default=1, show_default=True, help="Publish it so often.")
@click.option("--interval", "--repeat-delay", type=DURATION, default="0s", help="Time between messages.")
@click.option("-D", "--property", "properties", nargs=2, multiple=True, metavar="NAME VALUE", help="Of the message.")
@json_option
@client_options
@click.pass_context
def pub(context: click.Context, /, **given: Any) -> None:
    """Publish to a topic, and end when the broker has all of it as the QoS promises.

    The broker's certificate is verified before anything is sent. What is not acknowledged when the connection is lost
    is sent again on the next one. The first message that the broker refuses ends it.

    \b
    Examples:
      mqttsecure pub -t lab/hello -m world -u alice -i alice-pub --cafile certs/ca.pem
      mqttsecure pub -L mqtts://broker.example -t lab/hello -m world -u alice --auth scram
      mqttsecure pub -L mqtts://broker.example -t lab/x -m 21.5 -q 1 --cert me.pem --key me.key
      mqttsecure pub -t lab/image -f image.png -q 1 -D content-type image/png
      tail -F log | mqttsecure pub -t lab/log -l -q 1
      mqttsecure pub -t lab/tick -m x --repeat 60 --interval 1s
      mqttsecure pub -t lab/status -n -r                                     remove a retained message
    """
    _check_usage(given)
    try:
        need_mqtt_5(given, "properties")
        options = options_of(given)
        properties = properties_of(given["properties"], PacketType.PUBLISH)
        # What can never be sent is told before there is a connection.
        message = Publish(given["topic"], b"", given["qos"], given["retain"], properties=properties)
        prepare(0, message, options.version)
        for file in given["files"]:
            open_regular(file).close()
        payload = read_all(_STDIN, "stdin") if given["stdin_file"] else (given["message"] or "").encode(*_AS_TYPED)
    except (ClientError, ConfigError, OSError) as error:
        print_problems(_words(error))
        context.exit(EXIT_PROBLEMS)
    except KeyboardInterrupt:  # while a password or stdin is waited for; click would make it 1
        context.exit(EXIT_INTERRUPTED)

    def source(reactor: Any) -> Source:
        if given["lines"]:
            return Lines(_STDIN, reactor)
        files = given["files"]
        return Files(files, given["repeat"]) if files else Repeated(payload, given["repeat"])

    async def program(reactor: Any) -> int:
        return await _Publisher(given, message, source(reactor), reactor).run(options)

    context.exit(run(program))


def _check_usage(given: dict[str, Any]) -> None:
    ways = (given["message"] is not None, given["files"], given["stdin_file"], given["lines"], given["null_message"])
    if sum(map(bool, ways)) != 1:
        raise click.UsageError("say what to publish: one of -m TEXT, -f FILE, -s, -l and -n")
    if given["lines"] and given["repeat"] > 1:
        raise click.UsageError("lines come once; leave out --repeat")


def _words(error: ClientError | ConfigError | OSError) -> list[str]:
    if isinstance(error, OSError):
        return [f"{error.filename or 'stdin'}: {error.strerror}"]
    return problem_words(error)


class _Publisher:
    """One run of the command."""

    def __init__(self, given: dict[str, Any], message: Publish, source: Source, reactor: Any) -> None:
        """
        Args:
            given: the options of the command line.
            message: what is published, without its payload.
            source: payloads.
            reactor: Twisted's.
        """
        self._given = given
        self._message = message
        self._source = source
        self._reactor = reactor
        self._under_way = 0
        self._published = 0
        self._bytes = 0
        self._codes: Counter[int] = Counter()
        self._idle: Deferred[None] | None = None
        self._publishing: Deferred[None] | None = None
        self._failure: Failure | None = None

    async def run(self, options: ClientOptions) -> int:
        """Connect and publish everything."""
        quiet = self._given["quiet"]
        client = await connect(
            self._given["broker"], self._reactor, options, on_change=(lambda change: None) if quiet else tell_change
        )
        shown = Shown(self._source.total, self._source.size, lambda: (self._published, client.bytes_sent))
        try:
            with Progress(self._reactor, shown, enabled=not quiet and sys.stderr.isatty()):
                await self._publish_until_refused(client)
        finally:
            unanswered = self._under_way
            await client.disconnect()
            if unanswered and not quiet:
                click.echo(
                    f"mqttsecure: {counted(unanswered, 'message was', 'messages were')} not acknowledged", err=True
                )
        self._report()
        return EXIT_OK

    async def _publish_until_refused(self, client: Client) -> None:
        """The first failure ends it, whatever it waits for at that time."""
        client.closed().addErrback(self._failed)
        self._publishing = Deferred.fromCoroutine(self._publish_all(client))
        try:
            await self._publishing
        except CancelledError:
            if self._failure is not None:
                self._failure.raiseException()
            raise

    async def _publish_all(self, client: Client) -> None:
        message, interval = self._message, self._given["interval"]
        is_first = True
        while True:
            if interval and not is_first:
                await deferLater(self._reactor, interval)
            is_first = False
            payload = await self._source.next()
            if payload is None:
                return await self._all_settled()
            await client.room()
            self._under_way += 1
            answer = client.publish(
                message.topic, payload, message.qos, retain=message.retain, properties=message.properties.copy()
            )
            answer.addCallback(self._done, len(payload))
            answer.addErrback(self._refused)

    def _done(self, published: Published, size: int) -> None:
        self._published += 1
        self._bytes += size
        self._codes[published.reason_code] += 1
        self._under_way -= 1
        if self._idle is not None and not self._under_way:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def _refused(self, failure: Failure) -> None:
        self._under_way -= 1
        self._failed(failure)

    def _failed(self, failure: Failure) -> None:
        if self._failure is None:
            self._failure = failure
            if self._publishing is not None:
                self._publishing.cancel()

    async def _all_settled(self) -> None:
        """Until the last one is acknowledged."""
        if self._under_way:
            self._idle = Deferred()
            await self._idle

    def _report(self) -> None:
        unheard = self._codes[ReasonCode.NO_MATCHING_SUBSCRIBERS]
        if self._given["as_json"]:
            print_json(
                {
                    "topic": self._message.topic,
                    "messages": self._published,
                    "bytes": self._bytes,
                    "reason_codes": {name_of(code): number for code, number in self._codes.items()},
                }
            )
        elif unheard and not self._given["quiet"]:
            which = "it" if self._published == 1 else f"{unheard} of {self._published} messages"
            click.echo(
                f"mqttsecure: nobody subscribes to {self._message.topic!r} now; the broker took {which}", err=True
            )
