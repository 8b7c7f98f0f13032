"""A disk that fails and loses power, under a real process: see faults.py."""
