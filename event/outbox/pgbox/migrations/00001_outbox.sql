-- +goose Up
CREATE TABLE outbox (
    seq      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid      xid8   NOT NULL DEFAULT pg_current_xact_id(), -- the transaction that wrote it
    topic    text   COLLATE "C" NOT NULL,
    key      text   COLLATE "C" NOT NULL,
    subject  text   COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    value    bytea  NOT NULL,
    trace    text   COLLATE "C" NOT NULL -- the span that wrote it, as a W3C traceparent; empty where its trace is not kept
-- Rows live for milliseconds: what they leave behind has to go often, however few there are.
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000);
CREATE INDEX outbox_subject ON outbox (topic, subject, revision);

CREATE TABLE idempotency (
    caller  text   COLLATE "C" NOT NULL,
    key     text   COLLATE "C" NOT NULL,
    request bytea  NOT NULL,
    reply   bytea  NOT NULL,
    created bigint NOT NULL, -- Unix seconds
    PRIMARY KEY (caller, key)
);
CREATE INDEX idempotency_created ON idempotency (created);
