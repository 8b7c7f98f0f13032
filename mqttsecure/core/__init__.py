"""What a broker is: sans-IO, no clock, standard library only.

broker          what the adapter calls; ties all of this together
inbound         from bytes to packets to what they do: the frame loop
connection      one Network Connection: its state, buffers and Topic Aliases, and which packet is legal when
connecting      CONNECT and AUTH, up to CONNACK
publishing      the one publish path
routing         what the next message on a topic needs neither to ask nor to search for
delivery        the one delivery path
judging         the DELIVER stage, for readers and writers
waiting         messages behind a verdict that is pending
queues          what a session has waiting for its client
replaying       retained messages for new subscriptions
subscribing     SUBSCRIBE and UNSUBSCRIBE
subscriptions   the subscription trie, shared subscriptions
acknowledging   the QoS 1 and 2 flows
sessions        who owns a Client Identifier; taking over, resuming, leaving, expiring
session         Session State
paging          which sessions are in memory, and which on disk alone
pruning         dropping what is on disk alone: expired, or too much
journal         what is to be kept on disk and is not yet
batch_writer    the journal as rows
records         what is kept there, as plain values
restoring       from what was on disk back to sessions and messages
stored_json     facts, wills and writers as JSON
usage           what each principal has in the broker
will            Will Messages and their delay
retained        retained messages
rejudging       judging again what lives, after a change of policy
throttling      meters and pauses
decisions       what is asked of the policy chain and what it may answer
verdict_cache   verdicts remembered, by topic and by scope
model           messages and their envelope
reasons         Reason Codes of refusals
limits          every bound, with the reason for its default
timers          deadlines
events          what is told to the log and the audit
state           what the parts share
"""
