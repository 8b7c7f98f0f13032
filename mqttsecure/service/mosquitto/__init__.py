"""The way over from mosquitto: reads its files, and writes a configuration that decides as it did.

notes         what could not be carried over, and what means something else here
conf          mosquitto.conf with what it includes, by listener
passwords     password files
acl           access control files
dynsec        the file of the dynamic security plugin
model         what mosquitto decides: the measure of what is written
tiers         rules whose order counts, as rules whose order does not
rules_of_acl, rules_of_dynsec   the rules that decide the same
listeners     listeners, and which of them share users and rules
settings      every option, and what becomes of it
broker_toml   the configuration
policy_tests  a test for each rule
importing     all of it together, and the writing of files
"""
