"""What tests of policies may use: public, kept within a version, under trial, without sockets and threads.

environment   a broker around one policy, whose time, threads and authorities the test sets
questions     requests as the broker makes them, ordinary and odd ones
asking        puts questions to one policy and waits for the answers
promises      what a policy says of its own answers, and whether it is so
policy        the kit: what a broker in trouble does to a policy, as tests of yours
"""
