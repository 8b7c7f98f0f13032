"""Attacks on a broker of one's own: what mallory, and what a device that mallory took over, can try.

outcome    what came of an attack
target     whom it is for: the lab's broker or another of one's own, and nobody else
client     a client that can break every rule
hello      ClientHello messages of long ago
rights     reading and writing what one may not (A1 to A8)
sessions   being somebody else (A9, A10)
stalling   holding connections without saying anything (A13 to A19)
floods     too much of everything (A11, A12, A20, A21, A24 to A26)
malformed  what is no MQTT (A22, A23)
weak_tls   old versions and suites, changed bytes (A0, A27 to A30, E2)
middle     a man in the middle with bad certificates (B1 to B7)
grading    which requirements a broker meets by them
mosquitto  a Mosquitto to compare with
table      all of them by row, and how they are run
work       the program that runs them on a host of the lab
"""
