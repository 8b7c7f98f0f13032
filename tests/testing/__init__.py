"""Tests of ``mqttsecure.testing``."""
