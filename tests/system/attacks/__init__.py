"""Attacks on a really started broker: each test does what an attacker would, and then looks who was hurt."""
