# -*- test-case-name: tests.cli.test_policy_new -*-
"""What `mqttsecure policy new` writes: a whole policy that does something, its tests, and what ships it.

The words in capitals between ``@`` are filled in.
"""

from __future__ import annotations

from typing import Final

__all__ = ["PACKAGE_FILES", "SINGLE_FILES"]

_POLICY: Final = '''\
"""@NAME@: keeps clients that are not in a group from publishing to some topics.

It restricts: whoever is in the group, or publishes elsewhere, still needs the permit of another policy.
"""

from pydantic import Field
from zope.interface import implementer

from mqttsecure.authors import ConfigError, MqttError, PolicyOptions, check_topic_filter, matches
from mqttsecure.interfaces import INTERFACE_VERSION, Decision, IPolicy, IPolicyFactory, Role, Stage


class Options(PolicyOptions):
    """The keys of the [[policy]] table beside id, use, on and timeout_ms."""

    topics: list[str] = Field(min_length=1, description="Topic Filters that only the group may publish to.")
    group: str = Field(min_length=1, description="The group that may.")


@implementer(IPolicy)
class @CLASS@:
    """Denies a PUBLISH to guarded topics by whoever is not in the group."""

    stateful = False  # its answers depend on the question and the options alone, so `explain` and policy tests ask it

    def __init__(self, options, environment):
        self.topics = options.topics
        self.group = options.group
        self.sources = [environment.source("topics", index) for index in range(len(options.topics))]

    def decide(self, request):
        if self.group not in request.connection.groups:
            for index, topic_filter in enumerate(self.topics):
                if matches(topic_filter, request.topic):
                    text = f"only members of {self.group} publish to {topic_filter}"  # for the log, not for the client
                    return Decision.deny(f"topics[{index}]", text, source=self.sources[index], cacheable=True)
        return Decision.abstain(cacheable=True)  # not mine; the same for the same client and topic


@implementer(IPolicyFactory)
class @CLASS@Factory:
    """What the broker needs to know before it builds one."""

    interface_version = INTERFACE_VERSION
    name = "@NAME@"
    summary = "Keeps clients that are not in a group from publishing to some topics."
    docs = "@DOCS@"
    stages = {Stage.PUBLISH: Role.RESTRICTS}
    options = Options
    attributes: dict[str, type] = {}

    def build(self, options, environment):
        problems = []
        for index, topic_filter in enumerate(options.topics):
            try:
                check_topic_filter(topic_filter)
            except MqttError as error:
                problems.append(environment.problem("topics", str(error), index))
        if problems:
            raise ConfigError(problems)  # the start is refused, with file, line and key
        return @CLASS@(options, environment)


factory = @CLASS@Factory()
'''

_TEST: Final = '''\
"""Tests of @NAME@. Run them: @RUN@"""

@IMPORTS@
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.interfaces import Effect, Stage
from mqttsecure.testing.policy import PolicyKit, TestEnvironment, facts, request
@FACTORY@
OPTIONS = {"topics": ["plant/+/valve", "lab/#"], "group": "operators"}


class @CLASS@KitTests(PolicyKit, SynchronousTestCase):
    """What a broker in trouble does to it."""

    factory = factory
    options = OPTIONS
    bad_options = ({"topics": [], "group": "x"}, {"topics": ["lab/#/x"], "group": "x"}, {"topics": ["lab/#"]})


class @CLASS@Tests(SynchronousTestCase):
    """What it decides."""

    def effect(self, topic, *groups):
        policy = factory.build(factory.options(**OPTIONS), TestEnvironment())
        asked = request(Stage.PUBLISH, facts(groups=frozenset(groups)), topic=topic)
        return policy.decide(asked).effect

    def test_guarded_topics(self):
        """Only members of the group publish to them."""
        for topic in ("plant/7/valve", "lab", "lab/1"):
            self.assertIs(self.effect(topic), Effect.DENY)
            self.assertIs(self.effect(topic, "visitors"), Effect.DENY)
            self.assertIs(self.effect(topic, "operators"), Effect.ABSTAIN)

    def test_other_topics(self):
        """Are none of its business."""
        self.assertIs(self.effect("plant/7/temperature"), Effect.ABSTAIN)
'''

_PACKAGE_IMPORTS: Final = "from twisted.plugins.@MODULE@ import factory"
_SINGLE_IMPORTS: Final = "from pathlib import Path\n"
_SINGLE_FACTORY: Final = """from mqttsecure.testing.loading import factory_in

factory = factory_in(Path(__file__).resolve().parents[1] / "plugins" / "@MODULE@.py")
"""

_TABLE: Final = """\
```toml
[[policy]]
id = "@NAME@"
use = "@USE@"
topics = ["lab/#"]
group = "operators"
```

It stands above the policies that it is to come before; `mqttsecure check --table` shows where it can deny.
Change [@FILE@](@FILE@), run the tests, and read
`docs/howto/write-a-policy.md` and `docs/reference/authors.md` of mqttsecure.
"""

_PACKAGE_README: Final = (
    """\
# @DISTRIBUTION@: a policy for mqttsecure

```
pip install .                                        # into the environment that mqttsecure is in
python -m twisted.trial tests/test_@MODULE@.py
mqttsecure policies @NAME@
```

"""
    + _TABLE
)

_SINGLE_README: Final = (
    """\
# @NAME@: a single-file policy for mqttsecure

```
python -m twisted.trial tests/test_@MODULE@.py
chmod go-w plugins plugins/@MODULE@.py     # else it is not run: who may write there decides what the broker does
```

Put the folder `plugins` beside your broker.toml, and say there:

```toml
[plugins]
path = ["plugins"]
```

"""
    + _TABLE
)

_SETUP: Final = """\
[metadata]
name = @DISTRIBUTION@
version = 0.1.0
description = A policy for mqttsecure: keeps clients that are not in a group from publishing to some topics
long_description = file: README.md
long_description_content_type = text/markdown
classifiers =
    Framework :: Twisted
    Programming Language :: Python :: 3.11

[options]
python_requires = >=3.11
# There is no __init__.py in twisted/ or twisted/plugins/, and there must be none: both belong to Twisted.
packages =
    twisted.plugins
install_requires =
    mqttsecure >= 0.1
"""

_PYPROJECT: Final = """\
[build-system]
requires = ["setuptools>=65"]
build-backend = "setuptools.build_meta"
"""

PACKAGE_FILES: Final = {
    "setup.cfg": _SETUP,
    "pyproject.toml": _PYPROJECT,
    "README.md": _PACKAGE_README,
    "twisted/plugins/@MODULE@.py": _POLICY,
    "tests/test_@MODULE@.py": _TEST.replace("@IMPORTS@\n", f"{_PACKAGE_IMPORTS}\n").replace("@FACTORY@", ""),
}
"""The files of a package that pip installs, by path."""

SINGLE_FILES: Final = {
    "README.md": _SINGLE_README,
    "plugins/@MODULE@.py": _POLICY,
    "tests/test_@MODULE@.py": _TEST.replace("@IMPORTS@", _SINGLE_IMPORTS).replace("@FACTORY@\n", _SINGLE_FACTORY),
}
"""The files of a policy in a folder of ``[plugins] path``."""
