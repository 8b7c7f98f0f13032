"""A LAN on one machine: a switch, a broker, a subscriber, a publisher and an attacker, and a capture of what passes.

plan       who is in it, and at which address
processes  a process that may outlive the command that started it: found again, and ended for certain
space      namespaces that live as long as one process does; programs run on a host of it
lan        switch and cables
machine    what this machine can do, found out by doing it; which way is taken
firewall   the policy's ACCEPT stage in the broker's kernel, and what it counted
tunnel     WireGuard between broker and devices, and a rule: only from the tunnel
capturing  frames off the switch, into pcapng
relay      where frames cannot be captured: a relay that draws them
"""
