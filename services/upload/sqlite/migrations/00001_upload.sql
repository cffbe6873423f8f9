-- +goose Up
CREATE TABLE uploads (
  id          TEXT PRIMARY KEY,
  owner_id    TEXT NOT NULL,
  source      TEXT NOT NULL,
  file_name   TEXT NOT NULL,
  path        BLOB NOT NULL,
  mod_ns      INTEGER NOT NULL,
  size        INTEGER NOT NULL,
  received    INTEGER NOT NULL,
  state       INTEGER NOT NULL,
  track_id    TEXT NOT NULL,
  reason      TEXT NOT NULL,
  step        TEXT NOT NULL,
  progress    INTEGER NOT NULL,
  attempts    INTEGER NOT NULL,
  similar     TEXT NOT NULL,    -- JSON array of track ids
  created_ms  INTEGER NOT NULL,
  updated_ms  INTEGER NOT NULL,
  revision    INTEGER NOT NULL,
  sha256      TEXT NOT NULL,
  quick       TEXT NOT NULL,
  staged      INTEGER NOT NULL,
  supersedes  TEXT NOT NULL,
  generation  INTEGER NOT NULL,
  stage       INTEGER NOT NULL,
  priority    INTEGER NOT NULL,
  run_ms      INTEGER NOT NULL,
  facts       TEXT NOT NULL,    -- JSON
  lease       TEXT NOT NULL,
  lease_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX uploads_owner ON uploads (owner_id, id);
CREATE INDEX uploads_changed ON uploads (owner_id, updated_ms);
CREATE INDEX uploads_state ON uploads (state, updated_ms);
CREATE INDEX uploads_track ON uploads (track_id, id) WHERE track_id <> '';
CREATE INDEX uploads_twin ON uploads (owner_id, size, quick) WHERE quick <> '';
CREATE INDEX uploads_held ON uploads (owner_id) WHERE state = 1 OR staged = 1;
CREATE INDEX uploads_job ON uploads (stage, priority DESC, id) WHERE stage > 0;

CREATE TABLE objects (
  id        TEXT PRIMARY KEY,
  upload_id TEXT NOT NULL,
  track_id  TEXT NOT NULL,
  kbps      INTEGER NOT NULL,
  state     INTEGER NOT NULL,
  at_ms     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX objects_upload ON objects (upload_id);
CREATE INDEX objects_track ON objects (track_id);
CREATE INDEX objects_state ON objects (state, at_ms);

CREATE TABLE prints (
  n        INTEGER PRIMARY KEY,
  track_id TEXT NOT NULL UNIQUE,
  owner_id TEXT NOT NULL,
  pcm      TEXT NOT NULL,
  items    BLOB NOT NULL    -- uint32, little endian
) STRICT;
CREATE INDEX prints_pcm ON prints (pcm);
CREATE TABLE print_terms (
  term INTEGER NOT NULL,
  n    INTEGER NOT NULL REFERENCES prints (n) ON DELETE CASCADE,
  PRIMARY KEY (term, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX print_terms_n ON print_terms (n);

CREATE TABLE watched (
  folder    TEXT NOT NULL,
  path      BLOB NOT NULL,
  size      INTEGER NOT NULL,
  mod_ns    INTEGER NOT NULL,
  device    INTEGER NOT NULL,
  inode     INTEGER NOT NULL,
  upload_id TEXT NOT NULL,
  PRIMARY KEY (folder, path)
) STRICT, WITHOUT ROWID;
