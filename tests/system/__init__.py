"""Tests of mqttsecure."""
