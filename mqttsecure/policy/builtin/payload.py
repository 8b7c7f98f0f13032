# -*- test-case-name: tests.policy.builtin.test_payload -*-
"""``payload``: what a message may hold: so many bytes, a content type, UTF-8, JSON, JSON of a schema.

This module is on the path of each message to the topics that it is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import Field
from zope.interface import implementer

from mqttsecure.core.decisions import Decision, Request, Role, Source, Stage
from mqttsecure.errors import ConfigError
from mqttsecure.interfaces import INTERFACE_VERSION, IPolicy, IPolicyEnvironment, IPolicyFactory
from mqttsecure.policy.builtin.json_checks import (
    MAXIMUM_PATTERN_TEXT,
    JsonFault,
    JsonSchema,
    check_shape,
    parse_json,
)
from mqttsecure.policy.builtin.options import PolicyOptions, Problems
from mqttsecure.wire.constants import ReasonCode
from mqttsecure.wire.topics import matches

__all__ = ["Payload", "PayloadFactory", "PayloadOptions"]

MAXIMUM_CONTENT_TYPE: Final = 256

_NOT_ABOUT: Final = Decision.abstain(text="it is not about this topic", cacheable=True)
_GOOD: Final = Decision.abstain("payload", "the payload is as it should be")


class PayloadOptions(PolicyOptions):
    """Options of ``payload``."""

    topics: list[str] = Field(
        min_length=1,
        max_length=256,
        description="Topic Filters of the topics it is about.",
        examples=[["plant/+/telemetry"]],
    )
    maximum_bytes: int | None = Field(
        default=None, ge=0, le=268_435_455, description="The most bytes that a payload may have.", examples=[4096]
    )
    minimum_bytes: int = Field(
        default=0, ge=0, le=268_435_455, description="The fewest; see also `empty`.", examples=[8]
    )
    empty: bool = Field(
        default=True,
        description="Whether an empty payload passes whatever else is asked: it is how a retained message is deleted.",
        examples=[False],
    )
    content_types: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="The Content Types that a message may state (MQTT 5.0); one that states none is denied.",
        examples=[["application/json"]],
    )
    utf8: bool = Field(default=False, description="Whether it must be UTF-8.", examples=[True])
    format_indicator: bool = Field(
        default=True,
        description="Whether a message that states to be UTF-8 (MQTT 5.0, Payload Format Indicator) must be.",
        examples=[False],
    )
    json_only: bool = Field(
        default=False,
        alias="json",
        description="Whether it must be JSON: UTF-8, no name twice in an object, no NaN.",
        examples=[True],
    )
    schema_file: str | None = Field(
        default=None,
        description="JSON Schema (draft 2020-12) that it must fulfil. References lead within the file.",
        examples=["telemetry.schema.json"],
    )
    maximum_depth: int = Field(default=16, ge=1, le=64, description="How deep JSON may be nested.", examples=[4])
    maximum_values: int = Field(
        default=1000,
        ge=1,
        le=10_000,
        description="How many values JSON may have in all; checking a thousand takes some 15 ms.",
        examples=[50],
    )


@implementer(IPolicy)
class Payload:
    """Denies messages whose payload is not as the configuration wants it."""

    def __init__(self, options: PayloadOptions, schema: JsonSchema | None, environment: IPolicyEnvironment) -> None:
        self._options = options
        self._schema = schema
        self._environment = environment
        self._filters = tuple(options.topics)
        self._types = None if options.content_types is None else frozenset(options.content_types)
        self._json = options.json_only or schema is not None
        # Whoever asks what would happen says how large a message is, and not what is in it.
        self.stateful = self._json or options.utf8 or self._types is not None

    def decide(self, request: Request) -> Decision:
        """DENY a payload that may not pass, else ABSTAIN."""
        topic = request.topic
        if request.stage is not Stage.PUBLISH or not any(matches(each, topic) for each in self._filters):
            return _NOT_ABOUT
        payload = request.payload
        options = self._options
        if not payload and options.empty:
            return _GOOD
        size = len(payload)
        if options.maximum_bytes is not None and size > options.maximum_bytes:
            return self._deny("maximum_bytes", f"it has {size} bytes; at most {options.maximum_bytes} may pass")
        if size < options.minimum_bytes:
            return self._deny("minimum_bytes", f"it has {size} bytes; at least {options.minimum_bytes} are wanted")
        return self._typed(request) or self._text(request) or self._document(payload) or _GOOD

    def _typed(self, request: Request) -> Decision | None:
        if self._types is None:
            return None
        stated = request.properties.get("content_type")
        if stated in self._types:
            return None
        text = "it states no Content Type" if stated is None else f"its Content Type is {stated!r:.100}"
        return self._deny("content_types", f"{text}; one of {', '.join(sorted(self._types))} is wanted")

    def _text(self, request: Request) -> Decision | None:
        options = self._options
        states = options.format_indicator and request.properties.get("payload_format_indicator") == 1
        if not (options.utf8 or states):
            return None
        try:
            request.payload.decode("utf-8")
        except UnicodeDecodeError:
            rule = "utf8" if options.utf8 else "format_indicator"
            return self._deny(rule, "it is no UTF-8")
        return None

    def _document(self, payload: bytes) -> Decision | None:
        if not self._json:
            return None
        options, schema = self._options, self._schema
        rule = "json"
        try:
            document = parse_json(payload)
            longest = MAXIMUM_PATTERN_TEXT if schema is not None and schema.has_patterns else None
            check_shape(document, options.maximum_depth, options.maximum_values, longest)
            if schema is not None:
                rule = "schema_file"
                schema.check(document)
        except JsonFault as fault:
            return self._deny(rule, str(fault))
        return None

    def _deny(self, rule: str, text: str) -> Decision:
        source: Source = self._environment.source(rule)
        return Decision.deny(rule, f"the payload: {text}", source=source, reason_code=ReasonCode.PAYLOAD_FORMAT_INVALID)


@implementer(IPolicyFactory)
class PayloadFactory:
    """Builds :class:`Payload`."""

    interface_version = INTERFACE_VERSION
    name = "payload"
    summary = "what a message may hold: size, content type, UTF-8, JSON"
    stages: Mapping[Stage, Role] = {Stage.PUBLISH: Role.RESTRICTS}
    options = PayloadOptions
    attributes: Mapping[str, type] = {}

    def build(self, options: PayloadOptions, environment: IPolicyEnvironment) -> Payload:
        problems = Problems(environment)
        problems.plain_filters("topics", options.topics)
        for index, each in enumerate(options.content_types or ()):
            if not each or len(each) > MAXIMUM_CONTENT_TYPE:
                problems.add("content_types", f"write one of up to {MAXIMUM_CONTENT_TYPE} characters", index)
        if options.maximum_bytes is not None and options.minimum_bytes > options.maximum_bytes:
            problems.add("minimum_bytes", "it is more than maximum_bytes, so that nothing could pass")
        schema = self._schema(options, environment, problems)
        if not _asks_anything(options):
            problems.add(None, "it asks for nothing; give maximum_bytes, content_types, utf8, json or schema_file")
        problems.done()
        return Payload(options, schema, environment)

    @staticmethod
    def _schema(options: PayloadOptions, environment: IPolicyEnvironment, problems: Problems) -> JsonSchema | None:
        if options.schema_file is None:
            return None
        try:
            return JsonSchema(environment.resolve(options.schema_file))
        except ConfigError as error:
            problems.add_error("schema_file", error)
            return None


def _asks_anything(options: PayloadOptions) -> bool:
    return bool(
        options.maximum_bytes is not None
        or options.minimum_bytes
        or not options.empty
        or options.content_types
        or options.utf8
        or options.json_only
        or options.schema_file is not None
    )
