-- +goose Up
-- The span that wrote the event, as a W3C traceparent; empty where its trace is not kept.
ALTER TABLE outbox ADD COLUMN trace TEXT NOT NULL DEFAULT '';
