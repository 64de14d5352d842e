-- There is nothing before the first migration.
DROP TABLE request;
DROP TABLE mention;
DROP TABLE reaction;
DROP TABLE room_event;
DROP TABLE read_mark;
DROP TABLE member;
DROP TABLE room;
DROP TABLE session;
DROP TABLE user;
DROP TABLE journal_head;
DROP TABLE journal;
