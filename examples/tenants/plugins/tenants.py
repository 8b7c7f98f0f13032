"""A policy that keeps tenants apart: each client lives in the namespace of its tenant and meets nobody else's.

The tenant is the part of the user's name behind the last ``@``. Inside their namespaces tenants may use the same Topic
Names, Client Identifiers and retained messages. It restricts: who gets in is for the policies above it to say.
"""

from pydantic import BaseModel, ConfigDict, Field
from zope.interface import implementer

from mqttsecure.interfaces import INTERFACE_VERSION, NAMESPACE, Decision, IPolicy, IPolicyFactory, Role, Stage


class Options(BaseModel):
    """The keys of the ``[[policy]]`` table beside id, use, on and timeout_ms."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenants: list[str] = Field(min_length=1, description="The tenants there are; a user of no other gets in.")


@implementer(IPolicy)
class Tenants:
    """Denies users of no tenant, and puts those of one into its namespace."""

    stateful = False

    def __init__(self, options, environment):
        self.tenants = frozenset(options.tenants)
        self.source = environment.source("tenants")

    def decide(self, request):
        # Who the client is proved to be by the policies above, which is not what it says of itself.
        principal = request.exchange.get("principal")
        tenant = principal.name.rpartition("@")[2] if principal is not None else ""
        if tenant not in self.tenants:
            return Decision.deny("no-tenant", f"{principal} is of none of the tenants", source=self.source)
        return Decision.abstain("tenant", f"lives in {tenant}", source=self.source, attributes={NAMESPACE: tenant})


@implementer(IPolicyFactory)
class TenantsFactory:
    """What the broker needs to know before it builds one."""

    interface_version = INTERFACE_VERSION
    name = "tenants"
    summary = "Keeps tenants apart, each in its own namespace."
    stages = {Stage.AUTHENTICATE: Role.RESTRICTS}
    options = Options
    attributes = {NAMESPACE: str}

    def build(self, options, environment):
        return Tenants(options, environment)


factory = TenantsFactory()
