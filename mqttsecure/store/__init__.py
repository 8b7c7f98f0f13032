"""Where durable state lives.

=========== ===================================================================================
contract    the tests that every store passes, for those who write one
memory      a store that is gone with the process, and the reference for what a store means
sqlite      the store in a file: what the reactor's thread sees of it
thread      the one thread that writes, and when it does
database    the file as that thread uses it: transactions, mending, the lock
merging     several batches as one
applying    a batch as few statements
statements  many rows with one statement
tables      tables and their columns
reading     rows as the core wants them
tidying     what hangs on ended sessions, in small steps
checkpoints when the WAL moves into the file
schema      versions of the file, and the steps from one to the next
places      files beside the file, their modes, and the lock
damage      what is wrong with a file, and how a new one takes its place
salvage     what can be read of a damaged file
walking     a table, stepping over what cannot be read
invariants  what always holds between rows
looking     a look from outside, while a broker writes
copying     a copy of one moment
exchange    all rows as lines of JSON, and back
owners      what belongs to a principal: moved, or dropped
=========== ===================================================================================
"""
