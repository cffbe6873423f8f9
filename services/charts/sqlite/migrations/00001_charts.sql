-- +goose Up
-- Where each partition of track-played-events continues.
CREATE TABLE position (
    partition INTEGER PRIMARY KEY,
    next      INTEGER NOT NULL
);

-- Events that were counted.
CREATE TABLE counted (
    event_id TEXT    PRIMARY KEY,
    began    INTEGER NOT NULL -- Unix ms, as all times here
) WITHOUT ROWID;
CREATE INDEX counted_began ON counted (began);

-- market '' is everywhere.
CREATE TABLE total (
    period   INTEGER NOT NULL,
    start    INTEGER NOT NULL,
    market   TEXT    NOT NULL,
    track_id TEXT    NOT NULL,
    plays    INTEGER NOT NULL,
    PRIMARY KEY (period, start, market, track_id)
) WITHOUT ROWID;
CREATE INDEX total_rank ON total (period, start, market, plays DESC, track_id);

CREATE TABLE snapshot (
    period   INTEGER NOT NULL,
    start    INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (period, start)
) WITHOUT ROWID;
