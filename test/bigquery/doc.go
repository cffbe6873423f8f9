// Package bigquery loads the lake into an emulator of BigQuery by the jobs that jobs/
// generates: see make test-bigquery.
package bigquery
