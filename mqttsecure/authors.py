# -*- test-case-name: tests.test_authors -*-
"""What authors of policies may use beside :mod:`mqttsecure.interfaces`: public, and kept within a version.

``docs/reference/authors.md`` has all of it with examples. Nothing here reads a clock, makes a thread or opens a socket
by itself: that is what ``environment`` is for, so that a test can set them.

    topics      check_topic_filter, check_topic_name, matches, contains, intersects, intersection, covered_by, uncovered
    addresses   NetworkTable, parse_network
    caches      TtlCache
    services    HttpsClient, HttpsAnswer, HttpsFault, TlsMaterial, check_https_url
    rules       RuleSet: grants as rules, which containment, prove, diff and explain work on
    secrets     read_secret
    errors      ConfigError, MqttError, QuotaExceeded
"""

from __future__ import annotations

from typing import Final

from mqttsecure.errors import ConfigError, MqttError, QuotaExceeded
from mqttsecure.policy.builtin.networks import NetworkTable, parse_network
from mqttsecure.policy.builtin.options import PolicyOptions
from mqttsecure.policy.https import HttpsAnswer, HttpsClient, HttpsFault
from mqttsecure.policy.https_tls import TlsMaterial, check_https_url
from mqttsecure.policy.rule_set import RuleSet
from mqttsecure.policy.secrets import read_secret
from mqttsecure.policy.ttl_cache import TtlCache
from mqttsecure.wire.topics import (
    check_topic_filter,
    check_topic_name,
    contains,
    covered_by,
    intersection,
    intersects,
    matches,
    uncovered,
)

__all__ = [
    "AUTHORS_VERSION",
    "ConfigError",
    "HttpsAnswer",
    "HttpsClient",
    "HttpsFault",
    "MqttError",
    "NetworkTable",
    "PolicyOptions",
    "QuotaExceeded",
    "RuleSet",
    "TlsMaterial",
    "TtlCache",
    "check_https_url",
    "check_topic_filter",
    "check_topic_name",
    "contains",
    "covered_by",
    "intersection",
    "intersects",
    "matches",
    "parse_network",
    "read_secret",
    "uncovered",
]

AUTHORS_VERSION: Final = 1
"""Counted up when something here is taken away or means something else; what is added does not change it."""
