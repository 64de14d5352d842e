-- What proofs are made of. Roots of full subtrees of the journal's tree, of 2^8, 2^16, 2^24 … leaves: the others are computed from these, and from
-- the leaves.
CREATE TABLE subtree (
    level  INTEGER NOT NULL, -- 8, 16, 24 …
    number BIGINT NOT NULL,  -- it has the leaves from number * 2^level on
    root   BLOB NOT NULL,
    PRIMARY KEY (level, number)
) WITHOUT ROWID;

-- One row: the newest checkpoint that was signed.
CREATE TABLE checkpoint (
    one  INTEGER PRIMARY KEY NOT NULL CHECK (one = 1),
    note TEXT NOT NULL
);
