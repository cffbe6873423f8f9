-- +goose Up
-- Where each partition of track-played-events continues.
CREATE TABLE position (
    partition integer PRIMARY KEY,
    next      bigint  NOT NULL
);

-- Events that were counted.
CREATE TABLE counted (
    event_id text COLLATE "C" PRIMARY KEY,
    began    bigint NOT NULL -- Unix ms, as all times here
);
CREATE INDEX counted_began ON counted (began);

-- market '' is everywhere.
CREATE TABLE total (
    period   smallint         NOT NULL,
    start    bigint           NOT NULL,
    market   text COLLATE "C" NOT NULL,
    track_id text COLLATE "C" NOT NULL,
    plays    bigint           NOT NULL,
    PRIMARY KEY (period, start, market, track_id)
);
CREATE INDEX total_rank ON total (period, start, market, plays DESC, track_id);

CREATE TABLE snapshot (
    period   smallint NOT NULL,
    start    bigint   NOT NULL,
    revision bigint   NOT NULL,
    PRIMARY KEY (period, start)
);
