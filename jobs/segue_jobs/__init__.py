"""Segue's jobs on Spark: plays as a stream, and by day from the lake."""
