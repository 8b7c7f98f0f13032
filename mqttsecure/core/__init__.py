"""What a broker is: sans-IO, no clock, standard library only.

decisions       what is asked of the policy chain and what it may answer
model           messages, facts about connections, limits
connection      one Network Connection: its state, buffers and Topic Aliases
qos             Packet Identifiers and the QoS 1 and 2 flows
session         Session State and its queue
subscriptions   the subscription trie, shared subscriptions
retained        retained messages
will            Will Messages and their delay
timers          deadlines
broker          the rules that tie them together
"""
