-- +goose Up
-- Times are Unix milliseconds.
CREATE TABLE accounts (
    id               TEXT    NOT NULL PRIMARY KEY,
    username         TEXT    NOT NULL UNIQUE,
    display_name     TEXT    NOT NULL,
    email            TEXT    NOT NULL,
    roles            INTEGER NOT NULL, -- bit n: role n
    market           TEXT    NOT NULL,
    plan             TEXT    NOT NULL,
    disabled         INTEGER NOT NULL,
    explicit_allowed INTEGER NOT NULL,
    revision         INTEGER NOT NULL,
    created          INTEGER NOT NULL,
    password_hash    TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE listener_keys (
    user_id   TEXT    NOT NULL PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    id        TEXT    NOT NULL,
    master_id INTEGER NOT NULL,
    wrapped   BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

-- An id that was deleted never gets a key again.
CREATE TABLE deleted (
    user_id TEXT    NOT NULL PRIMARY KEY,
    deleted INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE codes (
    hash         BLOB    NOT NULL PRIMARY KEY,
    client_id    TEXT    NOT NULL,
    redirect_uri TEXT    NOT NULL,
    scopes       TEXT    NOT NULL, -- by spaces
    nonce        TEXT    NOT NULL,
    challenge    TEXT    NOT NULL,
    user_id      TEXT    NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    family_id    TEXT    NOT NULL,
    signed_in    INTEGER NOT NULL,
    expires      INTEGER NOT NULL,
    redeemed     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX codes_user ON codes (user_id);
CREATE INDEX codes_expires ON codes (expires);

CREATE TABLE families (
    id         TEXT    NOT NULL PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    client_id  TEXT    NOT NULL,
    user_agent TEXT    NOT NULL,
    scopes     TEXT    NOT NULL,
    nonce      TEXT    NOT NULL,
    signed_in  INTEGER NOT NULL,
    created    INTEGER NOT NULL,
    used       INTEGER NOT NULL,
    expires    INTEGER NOT NULL,
    seed       BLOB    NOT NULL,
    generation INTEGER NOT NULL,
    key_id     INTEGER NOT NULL,
    current    BLOB    NOT NULL,
    previous   BLOB    NOT NULL,
    rotated    INTEGER NOT NULL,
    revoked    INTEGER NOT NULL, -- 0 while it lives
    reason     TEXT    NOT NULL,
    revision   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX families_user ON families (user_id, created);
CREATE INDEX families_expires ON families (expires);
