-- +goose Up
CREATE TABLE session (
    user_id    TEXT    NOT NULL,
    session_id TEXT    NOT NULL,
    device_id  TEXT    NOT NULL,
    login_id   TEXT    NOT NULL,
    key_hash   BLOB    NOT NULL,
    key_id     INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    opened     INTEGER NOT NULL, -- Unix ms, as all times here
    renewed    INTEGER NOT NULL,
    PRIMARY KEY (user_id, session_id)
) WITHOUT ROWID;
CREATE INDEX session_renewed ON session (renewed);

-- The queue stands apart: it may be a megabyte, and a pause does not change it.
CREATE TABLE player (
    user_id    TEXT    PRIMARY KEY,
    revision   INTEGER NOT NULL,
    state      BLOB    NOT NULL,
    queue      BLOB    NOT NULL,
    queue_hash BLOB    NOT NULL
);

CREATE TABLE content_key (
    object_id TEXT    PRIMARY KEY,
    track_id  TEXT    NOT NULL,
    kbps      INTEGER NOT NULL,
    kid       INTEGER NOT NULL,
    seal_id   BLOB    NOT NULL,
    master_id INTEGER NOT NULL,
    wrapped   BLOB    NOT NULL,
    added     INTEGER NOT NULL,
    seq       INTEGER NOT NULL UNIQUE -- order of adding, whatever the clock did
);
CREATE INDEX content_key_track ON content_key (track_id, kbps, seq);

CREATE TABLE play (
    user_id  TEXT    NOT NULL,
    play_id  TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    due      INTEGER, -- NULL: never
    touched  INTEGER NOT NULL,
    state    BLOB    NOT NULL,
    PRIMARY KEY (user_id, play_id)
) WITHOUT ROWID;
CREATE INDEX play_due ON play (due) WHERE due IS NOT NULL;
CREATE INDEX play_touched ON play (touched);

CREATE TABLE seen_event (
    user_id  TEXT    NOT NULL,
    event_id TEXT    NOT NULL,
    touched  INTEGER NOT NULL,
    PRIMARY KEY (user_id, event_id)
) WITHOUT ROWID;
CREATE INDEX seen_event_touched ON seen_event (touched);

CREATE TABLE track (
    track_id TEXT    PRIMARY KEY,
    revision INTEGER NOT NULL,
    state    BLOB    NOT NULL
);
