-- Version 1. A message is there once, however many sessions and topics refer to it.
-- Names and order of the columns are those of mqttsecure/core/records.py.

CREATE TABLE sessions (
    key INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    client_id TEXT NOT NULL,
    authority TEXT NOT NULL,
    name TEXT NOT NULL,
    expiry REAL NOT NULL,
    left_at REAL,
    facts BLOB NOT NULL,
    will BLOB,
    will_due REAL
) STRICT;

CREATE TABLE subscriptions (
    session INTEGER NOT NULL,
    topic_filter TEXT NOT NULL,
    qos INTEGER NOT NULL,
    no_local INTEGER NOT NULL,
    retain_as_published INTEGER NOT NULL,
    retain_handling INTEGER NOT NULL,
    identifier INTEGER NOT NULL,
    PRIMARY KEY (session, topic_filter)
) STRICT, WITHOUT ROWID;

CREATE TABLE writers (
    id INTEGER PRIMARY KEY,
    content BLOB NOT NULL
) STRICT;

CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    refs INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    qos INTEGER NOT NULL,
    retain INTEGER NOT NULL,
    properties BLOB,
    expires_at REAL,
    writer INTEGER NOT NULL
) STRICT;

CREATE TABLE entries (
    session INTEGER NOT NULL,
    number INTEGER NOT NULL,
    message INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    qos INTEGER NOT NULL,
    retain INTEGER NOT NULL,
    identifiers TEXT NOT NULL,
    share TEXT NOT NULL,
    packet_id INTEGER NOT NULL,
    released INTEGER NOT NULL,
    PRIMARY KEY (session, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE incoming (
    session INTEGER NOT NULL,
    packet_id INTEGER NOT NULL,
    PRIMARY KEY (session, packet_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE retained (
    namespace TEXT NOT NULL,
    topic TEXT NOT NULL,
    message INTEGER NOT NULL,
    PRIMARY KEY (namespace, topic)
) STRICT, WITHOUT ROWID;

-- Sessions that are gone, while anything that hung on them is left.
CREATE TABLE ended (
    session INTEGER PRIMARY KEY
) STRICT;

-- What could not be kept when the file was mended, for `mqttsecure store info`.
CREATE TABLE losses (
    at REAL NOT NULL,
    text TEXT NOT NULL
) STRICT;
