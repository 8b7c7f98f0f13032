# -*- test-case-name: tests.policy.builtin.test_factory -*-
"""The factory objects that ``twisted/plugins/mqttsecure_policies.py`` shows to the plugin loader.

That file is read for every ``twistd --help``, so each object knows only its name and where the rest of it is, and
imports that when it is first asked. A module that cannot be imported raises there and then: the policy is never
taken for one that does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import BaseModel
from twisted.plugin import IPlugin
from zope.interface import implementer

from mqttsecure.core.decisions import Role, Stage
from mqttsecure.interfaces import INTERFACE_VERSION, IPolicy, IPolicyEnvironment, IPolicyFactory

__all__ = ["BuiltinFactory"]


@implementer(IPlugin, IPolicyFactory)
class BuiltinFactory:
    """Stands for a factory class ``module:Class`` of this package until it is needed."""

    interface_version = INTERFACE_VERSION

    def __init__(self, name: str, where: str) -> None:
        self.name = name
        self._where = where
        self._factory: Any = None

    def __repr__(self) -> str:
        return f"<built-in policy {self.name}>"

    @property
    def factory(self) -> Any:
        """The factory proper.

        Raises:
            ImportError: its module, or something that this needs, cannot be imported.
        """
        if self._factory is None:
            module, _, attribute = self._where.partition(":")
            self._factory = getattr(import_module(f"{__package__}.{module}"), attribute)()
        return self._factory

    @property
    def docs(self) -> str:
        """Where its page is, in the documentation."""
        return f"docs/reference/policies/{self.name}.md"

    @property
    def summary(self) -> str:
        return str(self.factory.summary)

    @property
    def stages(self) -> Mapping[Stage, Role]:
        stages: Mapping[Stage, Role] = self.factory.stages
        return stages

    @property
    def options(self) -> type[BaseModel]:
        options: type[BaseModel] = self.factory.options
        return options

    @property
    def attributes(self) -> Mapping[str, type]:
        attributes: Mapping[str, type] = self.factory.attributes
        return attributes

    def build(self, options: BaseModel, environment: IPolicyEnvironment) -> IPolicy:
        policy: IPolicy = self.factory.build(options, environment)
        return policy
