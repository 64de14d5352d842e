-- The journal, and the tables derived from it. Rooms, users and sessions are named by the index of the row that made them.
PRAGMA application_id = 0x67726566; -- "gref"

CREATE TABLE journal (
    idx  INTEGER PRIMARY KEY NOT NULL,
    head BLOB NOT NULL,
    body BLOB,             -- NULL once erased
    leaf BLOB NOT NULL     -- SHA-256(0x00 || head)
);

-- One row: what a batch locks, and where the next one goes on.
CREATE TABLE journal_head (
    one        INTEGER PRIMARY KEY NOT NULL CHECK (one = 1),
    size       BIGINT NOT NULL,
    time       BIGINT NOT NULL, -- of the newest row, microseconds since 1970
    edge       BLOB NOT NULL,   -- roots of the full subtrees, largest first, 32 bytes each
    epoch      TEXT NOT NULL,
    journal_id TEXT NOT NULL
);

CREATE TABLE user (
    no           BIGINT PRIMARY KEY NOT NULL,
    id           TEXT NOT NULL UNIQUE,
    name         TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    password     TEXT NOT NULL, -- Argon2id, as a PHC string
    created      BIGINT NOT NULL
);

CREATE TABLE session (
    no      BIGINT PRIMARY KEY NOT NULL,
    id      TEXT NOT NULL UNIQUE,
    user    BIGINT NOT NULL REFERENCES user (no),
    token   BLOB NOT NULL UNIQUE, -- SHA-256
    created BIGINT NOT NULL,
    used    BIGINT NOT NULL,
    seen    BIGINT NOT NULL       -- row with its newest address
);

CREATE TABLE room (
    no       BIGINT PRIMARY KEY NOT NULL,
    id       TEXT NOT NULL UNIQUE,
    kind     INTEGER NOT NULL,
    name     TEXT NOT NULL,
    topic    TEXT NOT NULL,
    history  INTEGER NOT NULL,
    created  BIGINT NOT NULL,
    archived BIGINT,
    head_seq BIGINT NOT NULL,
    direct_a BIGINT REFERENCES user (no),
    direct_b BIGINT REFERENCES user (no)
);

CREATE TABLE member (
    room      BIGINT NOT NULL REFERENCES room (no),
    user      BIGINT NOT NULL REFERENCES user (no),
    role      INTEGER NOT NULL, -- 0 removed, 1 invited, 2 member, 3 moderator, 4 owner
    since     BIGINT NOT NULL,
    first_seq BIGINT NOT NULL,
    barred    BOOLEAN NOT NULL,
    PRIMARY KEY (room, user)
) WITHOUT ROWID;

CREATE TABLE read_mark (
    user BIGINT NOT NULL REFERENCES user (no),
    room BIGINT NOT NULL REFERENCES room (no),
    seq  BIGINT NOT NULL,
    PRIMARY KEY (user, room)
) WITHOUT ROWID;

-- Where a room's events are in the journal, and whether their bodies are current.
CREATE TABLE room_event (
    room    BIGINT NOT NULL,
    seq     BIGINT NOT NULL,
    idx     BIGINT NOT NULL,
    kind    INTEGER NOT NULL, -- EventKind
    actor   BIGINT NOT NULL,  -- user, or -1
    target  BIGINT NOT NULL,  -- seq of the message that it is about, or 0
    state   INTEGER NOT NULL, -- BodyState: 0 current, 1 replaced, 2 deleted
    current BIGINT NOT NULL,  -- of a message: row with its current text
    PRIMARY KEY (room, seq)
) WITHOUT ROWID;

CREATE INDEX room_event_edits ON room_event (room, target) WHERE kind = 11;

CREATE TABLE reaction (
    room   BIGINT NOT NULL,
    target BIGINT NOT NULL,
    user   BIGINT NOT NULL,
    seq    BIGINT NOT NULL, -- of the event that added it
    idx    BIGINT NOT NULL,
    PRIMARY KEY (room, target, user, seq)
) WITHOUT ROWID;

CREATE TABLE mention (
    user BIGINT NOT NULL,
    room BIGINT NOT NULL,
    seq  BIGINT NOT NULL, -- of the message
    PRIMARY KEY (user, room, seq)
) WITHOUT ROWID;

CREATE INDEX mention_message ON mention (room, seq);

-- Requests that were answered: hashes and row numbers only.
CREATE TABLE request (
    no     INTEGER PRIMARY KEY NOT NULL,
    key    BLOB NOT NULL UNIQUE,
    idx    BIGINT NOT NULL,
    digest BLOB NOT NULL,
    time   BIGINT NOT NULL
);
