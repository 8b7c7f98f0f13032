"""Real brokers that are killed (killing.py), on disks that fail and lose power (faults.py); `python -m tests.crash`."""
