"""Tests of mqttsecure."""

from hypothesis import HealthCheck, settings

# On a machine that does other things too, how long one example takes says nothing of the code. What is too slow is
# noticed by the bound on the whole suite.
settings.register_profile("mqttsecure", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mqttsecure")
