"""The configuration and the running service around the core.

schema          the tables and keys of ``broker.toml``
limits_table    ``[limits]``, made from the core's Limits
quantities      ``256KiB`` and ``7d``
toml_lines      the line of each key
problems        what is wrong with a file, line by line
explain_errors  pydantic's errors in words
tables          validates a file table by table
config_checks   what must hold between tables, and with the file system
files           readable, secret, made by development
config          ``load_config``: a checked and resolved file
certificates    is this certificate file usable
development     certificates and a user for a first try on loopback
development_certificates  its CA and what that signs
prepare         what happens before a start
firewall        the ACCEPT stage as a ruleset for nftables
assembly        policies found, built and put into a chain
logging         one line per event
exit_code       how the process ends
broker          the service that listens
audit           writes the audit log; audit_events what happens without a decision; audit_certificates who showed what;
                audit_reading reads it
report          the lines of the log; explain_command what to type to see why
gone            principals whom nobody would let in any more, and what they still have
usage           what the broker holds, for policies
recorded        a decision of the past, put to a configuration of today; replay all of them to two
asking          a question put to the running broker; watching how a client is right now
findings        what is wrong with a client, the most probable first, by the audit log; finding one of them;
                live_findings by the running broker; keeping_out bans and blocks in force; mends what helps
control         the socket for commands; unix_address for one deep within folders
effective_grants  what one client may do, for ``clients show``
file_watch      files that were changed, and left alone, are read again
shadow          a candidate chain beside the one in force
trace_json      the trace of a decision as plain values
"""
