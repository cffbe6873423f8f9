-- +goose Up
CREATE TABLE vault (
    purpose text   COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    sealed  bytea  NOT NULL -- by a wrapping key that is not in this database: see pgvault
);
