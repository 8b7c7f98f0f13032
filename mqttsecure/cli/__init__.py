"""The ``mqttsecure`` command.

main       the command and its tree
check      is a configuration right
passwd     users and passwords
policies   which policies are installed, and their options
policy     what can be done with a configuration's policies
nft        the ACCEPT stage as a firewall of the kernel
output     tables for people, JSON for programs
reference  the reference page of the configuration, made from its models
stage_table  who grants and who restricts where, made from the policies
"""
