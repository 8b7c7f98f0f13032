"""Tests of ``mqttsecure.cli``."""
