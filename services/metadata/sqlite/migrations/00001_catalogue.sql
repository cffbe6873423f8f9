-- +goose Up
-- Entities are protobuf messages (proto/segue/metadata/v1/stored.proto); beside them
-- stands what is searched or ordered by.
CREATE TABLE claim (
    key TEXT PRIMARY KEY,
    id  TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE class (
    id     INTEGER PRIMARY KEY,
    data   BLOB    NOT NULL,
    tracks INTEGER NOT NULL -- of this class now
);

CREATE TABLE track (
    id         TEXT    PRIMARY KEY,
    revision   INTEGER NOT NULL,
    owner_id   TEXT    NOT NULL,
    class_id   INTEGER NOT NULL,
    added      INTEGER NOT NULL, -- Unix milliseconds
    sort_title TEXT    NOT NULL,
    data       BLOB    NOT NULL
);
CREATE INDEX track_added ON track (added, id);
CREATE INDEX track_title ON track (sort_title, id);
CREATE INDEX track_owner_added ON track (owner_id, added, id);
CREATE INDEX track_owner_class ON track (owner_id, class_id);

CREATE TABLE album (
    id          TEXT    PRIMARY KEY,
    revision    INTEGER NOT NULL,
    live        INTEGER NOT NULL, -- it has tracks
    owner_id    TEXT    NOT NULL,
    added       INTEGER NOT NULL,
    date        TEXT    NOT NULL,
    sort_title  TEXT    NOT NULL,
    sort_artist TEXT    NOT NULL,
    data        BLOB    NOT NULL
);
CREATE INDEX album_added ON album (added, id) WHERE live;
CREATE INDEX album_date ON album (date, id) WHERE live;
CREATE INDEX album_title ON album (sort_title, id) WHERE live;
CREATE INDEX album_artist ON album (sort_artist, id) WHERE live;

CREATE TABLE album_member (
    album_id TEXT    NOT NULL,
    track_id TEXT    NOT NULL,
    disc     INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    data     BLOB    NOT NULL,
    PRIMARY KEY (album_id, track_id)
) WITHOUT ROWID;
CREATE INDEX album_member_place ON album_member (album_id, disc, number);

-- Which classes and owners an album's tracks are of: what decides who sees it.
CREATE TABLE album_share (
    album_id TEXT    NOT NULL,
    class_id INTEGER NOT NULL,
    owner_id TEXT    NOT NULL,
    PRIMARY KEY (album_id, class_id, owner_id)
) WITHOUT ROWID;

CREATE TABLE artist (
    id        TEXT    PRIMARY KEY,
    revision  INTEGER NOT NULL,
    live      INTEGER NOT NULL, -- a track names it
    sort_name TEXT    NOT NULL,
    data      BLOB    NOT NULL
);
CREATE INDEX artist_name ON artist (sort_name, id) WHERE live;

CREATE TABLE artist_member (
    artist_id TEXT    NOT NULL,
    track_id  TEXT    NOT NULL,
    album_id  TEXT    NOT NULL,
    class_id  INTEGER NOT NULL,
    owner_id  TEXT    NOT NULL,
    data      BLOB    NOT NULL,
    PRIMARY KEY (artist_id, track_id)
) WITHOUT ROWID;

CREATE TABLE artist_album (
    artist_id TEXT NOT NULL,
    album_id  TEXT NOT NULL,
    PRIMARY KEY (artist_id, album_id)
) WITHOUT ROWID;

CREATE TABLE artist_share (
    artist_id TEXT    NOT NULL,
    class_id  INTEGER NOT NULL,
    owner_id  TEXT    NOT NULL,
    PRIMARY KEY (artist_id, class_id, owner_id)
) WITHOUT ROWID;

CREATE TABLE mark (
    kind TEXT    NOT NULL,
    id   TEXT    NOT NULL,
    due  INTEGER NOT NULL, -- Unix milliseconds
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX mark_due ON mark (due);
