"""The built-in policies, each a plugin like any other.

factory              finds the built-in factories without importing what they need
options              what all option models share; rates and other small notations
networks             address prefixes and the longest one that holds an address
token_bucket         rate limits: one bucket, a bounded table of them, the meters of the hot path
certificates         what a client certificate says of its owner
revocation           certificate revocation lists
password_hash        password hashes and the files that hold them
scram_keys           SCRAM keys in password files, and those of users who do not exist
token                a JSON Web Token: its parts, signature and claims
token_keys           the keys that verify it, out of files and key sets
token_source         keys of a file, or of a service that is asked
token_grants         rules that a token brings
http_messages        what a decision service is asked, and may answer
calendar_times       hours, weekdays and dates in a time zone
json_checks          strict JSON, and schemas within bounds
whom                 whom a policy is about, where that is only some
rules                the rule language
rule_index           the rules that concern one connection, compiled

ip_allowlist         ACCEPT
connection_limit     ACCEPT
tls_requirements     HANDSHAKE
client_id            CONNECT, AUTHENTICATE
password_file        AUTHENTICATE
scram                AUTHENTICATE
client_certificate   AUTHENTICATE
jwt                  AUTHENTICATE, PUBLISH, SUBSCRIBE, DELIVER; jwt_options has its options
http_service         any stage; http_options has its options
anonymous            AUTHENTICATE
topic_acl            PUBLISH, SUBSCRIBE, DELIVER
schedule             AUTHENTICATE, PUBLISH, SUBSCRIBE, DELIVER
payload              PUBLISH
quota                AUTHENTICATE, PUBLISH, SUBSCRIBE, DELIVER
rate_limit           PUBLISH, DELIVER
"""
