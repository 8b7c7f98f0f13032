"""Where policies are enforced: sockets, TLS and the adapter that feeds the core.

driver      feeds the core, writes its outboxes once per reactor turn, keeps its one timer
protocol    one connection: HANDSHAKE, bytes in, bytes out, closing
gate        what stands outside TLS: the ACCEPT stage
tls         TLS contexts, the TLS transport, and what a handshake settled
"""
