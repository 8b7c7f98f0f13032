"""Tests of ``mqttsecure.service.mosquitto``."""
