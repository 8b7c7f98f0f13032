"""Where durable state lives.

========== ====================================================================================
contract   the tests that every store passes, for those who write one
memory     a store that is gone with the process, and the reference for what a store means
sqlite     the store in a file: what the reactor's thread sees of it
thread     the one thread that writes, and when it does
database   the connection: transactions, what is read, what is tidied away
applying   a batch as few statements
merging    several batches as one
statements many rows with one statement
reading    rows as the core wants them
tidying    what hangs on ended sessions, in small steps
tables     tables and their columns
schema     versions of the file, and the steps from one to the next
places     files beside the file, their modes, and the lock
========== ====================================================================================
"""
