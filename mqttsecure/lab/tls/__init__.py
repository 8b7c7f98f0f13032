"""TLS 1.2 and 1.3 from the record layer up.

cursor        reads the fields of a message, bounded, and remembers where they stand
names         numbers of the registries by name: versions, messages, alerts, groups, signature schemes
suites        cipher suites by number, spelled out and graded
ffdhe         finite-field groups by their primes
extensions    each extension with its meaning
name_lists    distinguished names in certificate requests
hello         ClientHello, ServerHello, HelloRetryRequest
messages      all other handshake messages, and alerts
certificates  what a certificate says
chain         a chain judged at the time of the capture
keylog        NSS key logs
schedule      from secrets to keys and Finished: the PRF of TLS 1.2, the key schedule of TLS 1.3
protection    opens records: AES-GCM, AES-CCM, ChaCha20-Poly1305, AES-CBC with MAC
signatures    signatures of ServerKeyExchange and CertificateVerify
assembly      bytes from records or streams put together, with the frames they came in
records       a TCP stream to records
state         what is known of a connection while it is followed
agreed        what a ServerHello settled
secrets       from the key log to the keys of a connection, and to Finished
handshake     handshake messages one after another, and what follows from each
told          makes the message that something is told as
session       follows one connection from message to message
"""
