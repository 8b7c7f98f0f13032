"""A policy that closes the broker outside business hours. It restricts: who gets in is for others to say."""

from datetime import time
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field
from zope.interface import implementer

from mqttsecure.interfaces import INTERFACE_VERSION, Decision, IPolicy, IPolicyFactory, Role, Stage

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class Options(BaseModel):
    """The keys of the ``[[policy]]`` table beside id, use, on and timeout_ms."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: list[Literal[DAYS]] = Field(default=list(DAYS[:5]), description="Days on which the broker is open.")
    opens: time = Field(default=time(8), description="When it opens.")
    closes: time = Field(default=time(18), description="When it closes; at this very second it is closed.")
    timezone: str = Field(default="UTC", description="Where these times hold, as in Europe/Berlin.")


@implementer(IPolicy)
class BusinessHours:
    """Denies while the broker is closed, and has no opinion while it is open."""

    def __init__(self, options, environment):
        self.options = options
        self.zone = ZoneInfo(options.timezone)
        self.wall_clock = environment.wall_clock  # not datetime.now(), so that a test can set the time
        self.source = environment.source()

    def decide(self, request):
        now = self.wall_clock().astimezone(self.zone)
        is_open = DAYS[now.weekday()] in self.options.days and self.options.opens <= now.time() < self.options.closes
        # The answer holds for the rest of this second: a busy client is not asked about for each message.
        more = {"source": self.source, "cacheable": True, "valid_until": request.now + 1 - now.microsecond / 1e6}
        if is_open:
            return Decision.abstain("open", **more)
        return Decision.deny("closed", f"it is {now:%A %H:%M} in {self.options.timezone}", **more)


@implementer(IPolicyFactory)
class BusinessHoursFactory:
    """What the broker needs to know before it builds one."""

    interface_version = INTERFACE_VERSION
    name = "business-hours"
    summary = "Closes the broker outside business hours."
    stages = {Stage.CONNECT: Role.RESTRICTS, Stage.PUBLISH: Role.RESTRICTS}
    options = Options
    attributes: dict[str, type] = {}

    def build(self, options, environment):
        return BusinessHours(options, environment)


factory = BusinessHoursFactory()
