"""The documentation: its examples load, its links lead somewhere, its commands exist."""
