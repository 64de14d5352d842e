-- What operators do: roles, closed accounts, their sessions, what stands of their acts, and the logs.
ALTER TABLE user ADD COLUMN roles INTEGER NOT NULL DEFAULT 0;      -- 1 operator + 2 investigator
ALTER TABLE user ADD COLUMN disabled BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE user ADD COLUMN operator_identity BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE session ADD COLUMN for_operators BOOLEAN NOT NULL DEFAULT FALSE;

-- Rows of the journal that stand: bans that were not lifted, alerts, the notice, codes that were not used, open reports.
CREATE TABLE standing (
    idx  BIGINT PRIMARY KEY NOT NULL,
    code BLOB -- SHA-256 of the one-time code that the row made
);

-- Rows of the journal that are in a log: once for everyone, and once for each account that they are about.
CREATE TABLE log_event (
    log   INTEGER NOT NULL, -- 0 connections, 1 audit
    user  BIGINT NOT NULL,  -- or -1: everyone
    idx   BIGINT NOT NULL,
    about BIGINT,           -- the account that the row is about
    PRIMARY KEY (log, user, idx)
) WITHOUT ROWID;
