// Package spark runs the jobs of jobs/ for real, on Kafka and an S3 server, and holds what
// they write to what the lake says: see make test-spark.
package spark
