"""Tests of mqttsecure.store."""
