-- Sizes at which the journal was signed, each once: what an older checkpoint that somebody kept can be compared with.
CREATE TABLE signed (
    size BIGINT PRIMARY KEY NOT NULL,
    time BIGINT NOT NULL -- when, in microseconds since 1970; 0 if that is not known
) WITHOUT ROWID;

-- Of those before this table only the newest one is known: the second line of its note.
INSERT INTO signed (size, time) SELECT CAST(substr(note, instr(note, char(10)) + 1) AS INTEGER), 0 FROM checkpoint;
