"""Tests of ``mqttsecure.service``."""
