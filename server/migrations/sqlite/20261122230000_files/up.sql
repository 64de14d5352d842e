-- Files, where they are shared, and uploads on their way. Names and hashes of files are in the journal's bodies alone.
CREATE TABLE file (
    no    BIGINT PRIMARY KEY NOT NULL, -- row that shared it first
    id    TEXT NOT NULL UNIQUE,
    owner BIGINT NOT NULL REFERENCES user (no),
    size  BIGINT NOT NULL
);

CREATE TABLE file_share (
    room BIGINT NOT NULL REFERENCES room (no),
    seq  BIGINT NOT NULL, -- of the event that shared it
    file BIGINT NOT NULL REFERENCES file (no),
    PRIMARY KEY (room, seq)
) WITHOUT ROWID;

-- No events: rows that overwrite themselves, and go with the upload.
CREATE TABLE upload (
    id         TEXT PRIMARY KEY NOT NULL,
    owner      BIGINT NOT NULL REFERENCES user (no),
    room       BIGINT NOT NULL REFERENCES room (no),
    name       TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size       BIGINT NOT NULL,
    committed  BIGINT NOT NULL, -- bytes that are on the disk
    created    BIGINT NOT NULL,
    used       BIGINT NOT NULL  -- when it last got bytes
);
