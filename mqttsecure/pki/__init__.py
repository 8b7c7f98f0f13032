"""A small certificate authority on ``cryptography``: what ``mqttsecure cert``, the first start and the lab make.

errors       what is refused, in plain words with the mend
keys         kinds of keys, PEM with and without a passphrase
pkcs8        a key under a passphrase that takes long to guess
files        new files: whole or not at all, never over an old one
names        DNS names, addresses and URIs as people write them
constraints  which names a CA may vouch for
profiles     what stands in the certificate of a CA, a server, a client
issuing      the certificate itself, and its renewal
index        all that a CA ever issued and revoked, in one file that only grows
authority    the folder of a CA: open it, issue, revoke
creating     a new CA, in one step or through another CA that is kept offline
requests     signing requests of keys that were made elsewhere
revoking     revocation lists
batch        certificates by the thousand
bundles      PKCS#12
loading      what is in a file, whatever its form
explaining   ... and in words
chains       from a certificate up to a CA that is trusted
verifying    what is wrong with a certificate, in one line
bad          the six bad certificates of a lesson
"""
