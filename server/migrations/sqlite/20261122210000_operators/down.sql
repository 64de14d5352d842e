DROP TABLE log_event;
DROP TABLE standing;
ALTER TABLE session DROP COLUMN for_operators;
ALTER TABLE user DROP COLUMN operator_identity;
ALTER TABLE user DROP COLUMN disabled;
ALTER TABLE user DROP COLUMN roles;
