-- +goose Up
-- AUTOINCREMENT: a number is never given twice, so that "up to seq" means one thing.
CREATE TABLE outbox (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    topic    TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    subject  TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    value    BLOB    NOT NULL
);
CREATE INDEX outbox_subject ON outbox (topic, subject, revision);

CREATE TABLE idempotency (
    caller  TEXT    NOT NULL,
    key     TEXT    NOT NULL,
    request BLOB    NOT NULL,
    reply   BLOB    NOT NULL,
    created INTEGER NOT NULL, -- Unix seconds
    PRIMARY KEY (caller, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_created ON idempotency (created);
