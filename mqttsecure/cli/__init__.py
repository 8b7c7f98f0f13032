"""The ``mqttsecure`` command.

main       the command and its tree
check      is a configuration right
passwd     users and passwords
policies   which policies are installed, and their options
explain    what the chain says to one request, and why; explain_past to one of the past
why        what is wrong with a client, and what helps
policy     what can be done with a configuration's policies
policy_test, policy_prove, policy_diff  does it answer as expected, what can never happen, what changes for whom
nft        the ACCEPT stage as a firewall of the kernel
offline    a configuration put together for questions
trace_output  how the trace of a decision is shown; replay_output those that would come out differently
output     tables for people, JSON for programs
reference  the reference page of the configuration, made from its models
stage_table  who grants and who restricts where, made from the policies
"""
