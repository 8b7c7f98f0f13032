"""Tests of the built-in policies, each alone with a fake environment."""
