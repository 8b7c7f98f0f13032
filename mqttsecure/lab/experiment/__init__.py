"""The lab as an experiment: prepared, set up, run, attacked, reported, taken down.

folder     what is where in a lab's folder
preparing  ``lab init``: policy, CA, certificates, users, keys of the tunnel
state      what was started, so that it can be ended by whoever comes next
setting    ``lab up`` and ``lab down``
roles      the publisher and the subscriber, as programs on their hosts
programs   both of them started and listened to
traffic    ``lab run``: capture, traffic, secrets, and what the capture shows
attacking  ``lab attack``: from which host, and what is kept of it
record     all that a lab has to tell; markdown as a page
"""
