-- +goose Up
-- Ids are ordered by their bytes, as everywhere.
CREATE TABLE uploads (
    id          text    COLLATE "C" NOT NULL PRIMARY KEY,
    owner_id    text    COLLATE "C" NOT NULL,
    source      text    NOT NULL,
    file_name   text    NOT NULL,
    path        bytea   NOT NULL,
    mod_ns      bigint  NOT NULL,
    size        bigint  NOT NULL,
    received    bigint  NOT NULL,
    state       integer NOT NULL,
    track_id    text    COLLATE "C" NOT NULL,
    reason      text    NOT NULL,
    step        text    NOT NULL,
    progress    bigint  NOT NULL,
    attempts    bigint  NOT NULL,
    "similar"   text    NOT NULL, -- JSON array of track ids
    created_ms  bigint  NOT NULL,
    updated_ms  bigint  NOT NULL,
    revision    bigint  NOT NULL,
    sha256      text    NOT NULL,
    quick       text    COLLATE "C" NOT NULL,
    staged      boolean NOT NULL,
    supersedes  text    COLLATE "C" NOT NULL,
    generation  bigint  NOT NULL,
    stage       integer NOT NULL,
    priority    integer NOT NULL,
    run_ms      bigint  NOT NULL,
    facts       text    NOT NULL, -- JSON
    trace       text    NOT NULL, -- the act that the upload and its jobs belong to, as a W3C traceparent
    lease       text    NOT NULL,
    lease_ms    bigint  NOT NULL
);
CREATE INDEX uploads_owner ON uploads (owner_id, id);
CREATE INDEX uploads_changed ON uploads (owner_id, updated_ms, id);
CREATE INDEX uploads_state ON uploads (state, id);
CREATE INDEX uploads_stale ON uploads (state, updated_ms, id);
CREATE INDEX uploads_track ON uploads (track_id, id) WHERE track_id <> '';
CREATE INDEX uploads_twin ON uploads (owner_id, size, quick, id) WHERE quick <> '';
CREATE INDEX uploads_held ON uploads (owner_id) WHERE state = 1 OR staged;
CREATE INDEX uploads_job ON uploads (stage, priority DESC, id) WHERE stage > 0;
CREATE INDEX uploads_due ON uploads (stage, greatest(run_ms, lease_ms)) WHERE stage > 0;
CREATE INDEX uploads_due_express ON uploads (stage, greatest(run_ms, lease_ms)) WHERE stage > 0 AND priority >= 10;

CREATE TABLE objects (
    id        text    COLLATE "C" NOT NULL PRIMARY KEY,
    upload_id text    COLLATE "C" NOT NULL,
    track_id  text    COLLATE "C" NOT NULL,
    kbps      integer NOT NULL,
    state     integer NOT NULL,
    at_ms     bigint  NOT NULL
);
CREATE INDEX objects_upload ON objects (upload_id, kbps, id);
CREATE INDEX objects_track ON objects (track_id);
CREATE INDEX objects_state ON objects (state, at_ms, id);

CREATE TABLE prints (
    n        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    track_id text   COLLATE "C" NOT NULL UNIQUE,
    owner_id text   COLLATE "C" NOT NULL,
    pcm      text   COLLATE "C" NOT NULL,
    items    bytea  NOT NULL -- uint32, little endian
);
CREATE INDEX prints_pcm ON prints (pcm) WHERE pcm <> '';
CREATE TABLE print_terms (
    term bigint NOT NULL,
    n    bigint NOT NULL REFERENCES prints (n) ON DELETE CASCADE,
    PRIMARY KEY (term, n)
);
CREATE INDEX print_terms_n ON print_terms (n);

CREATE TABLE watched (
    folder    text   NOT NULL,
    path      bytea  NOT NULL,
    size      bigint NOT NULL,
    mod_ns    bigint NOT NULL,
    device    bigint NOT NULL,
    inode     bigint NOT NULL,
    upload_id text   COLLATE "C" NOT NULL,
    PRIMARY KEY (folder, path)
);
