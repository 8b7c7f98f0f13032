"""The lab: reads network traffic, from a capture or a live connection, to each TLS message and MQTT packet explained.

reading       the way in: a file to a Reading
model         the Reading: connections, messages, fields, checks, verdict; plain data that reports take
capture       files, frames, IP, TCP: bytes to the two streams of each connection, and a writer
tls           TLS 1.2 and 1.3 from the record layer up, decrypted by a key log
mqtt          the MQTT packets inside
conversation  one connection put together
flights       who waited for whom, and how many round trips that took
verdict       how the connection went (with findings: what to look at)
explain       each message: what it is, why it matters, where the specification says it, what an attacker sees
              (with explain_tls, explain_mqtt)
corrections   what the old lab text says, and what the wire says
history       from SSL to TLS: which version may be used, and why not
document      a Reading as one JSON document
text          a Reading as lines for a person
live          a handshake with a server, recorded and read
summary       frame by frame in tshark's terms, to compare readings

network       a LAN on one machine, with firewall, tunnel and capture
attacks       attacks on a broker of one's own
experiment    the lab: prepared, set up, run, attacked, reported, taken down
"""
