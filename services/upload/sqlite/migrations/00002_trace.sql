-- +goose Up
-- The act that the upload and its jobs belong to, as a W3C traceparent.
ALTER TABLE uploads ADD COLUMN trace TEXT NOT NULL DEFAULT '';
