"""Tells of each track what a day of listens was like, from the lake.

A listen belongs to the day in which it began. It may be in the lake days later: run the job again for a day, and it
replaces what it said. Doubles are left out by the event's id. Written are, below --out:

    date=D/version=N/*.parquet    one row a track: see DAY
    date=D/manifest.json          {"version": N, "plays": sum, "files": how many of the lake were read}

Only the version that the manifest names counts.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from datetime import date, timedelta

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from segue_jobs import events, lake, session

TOPIC = "track-played-events"

# completion is the mean of heard over the track's length, each at most 1; null where no length is known.
DAY = "track string, plays bigint, skips bigint, listeners bigint, heard_ms bigint, completion double"

LISTEN = "id string, user_id string, track string, began timestamp, skipped boolean, heard_ms bigint, track_ms bigint"


def listens(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Maps rows of the lake (id, user_id, time, payload) to LISTEN."""
    message = events.message("TrackPlayed")
    for batch in batches:
        ids, users, times, payloads = (batch.column(c).to_pylist() for c in ("id", "user_id", "time", "payload"))
        columns: list[list[object]] = [[] for _ in range(7)]
        for event_id, user, happened, payload in zip(ids, users, times, payloads, strict=True):
            try:
                p = message.FromString(payload)
            except Exception:  # no listen: the runtime has no kind of its own for all that can be wrong
                continue
            if not events.ID.fullmatch(p.track_id):
                continue
            began = events.micros(p.started) if p.HasField("started") else None
            row = (event_id, user, p.track_id, happened if began is None else began, p.skipped, min(p.heard_ms, 1 << 62), min(p.track_ms, 1 << 62))
            for column, value in zip(columns, row, strict=True):
                column.append(value)
        types = [pa.string(), pa.string(), pa.string(), pa.timestamp("us", "UTC"), pa.bool_(), pa.int64(), pa.int64()]
        names = ["id", "user_id", "track", "began", "skipped", "heard_ms", "track_ms"]
        yield pa.RecordBatch.from_arrays([pa.array(c, t) for c, t in zip(columns, types, strict=True)], names)


def hours(keys: list[str], day: date, days: int) -> list[str]:
    """Those files that may have listens of a day: it was written from then on, up to so many days later."""
    last = day + timedelta(days=days)
    return [k for k in keys if f"/date={day:%Y-%m-%d}/" <= k[k.index("/date=") :] < f"/date={last + timedelta(days=1):%Y-%m-%d}/"]


def summarize(rows: DataFrame, day: date) -> DataFrame:
    of_day = rows.where(F.to_date("began") == F.lit(day)).dropDuplicates(["id"])
    share = F.when(F.col("track_ms") > 0, F.least(F.lit(1.0), F.col("heard_ms") / F.col("track_ms")))
    return of_day.groupBy("track").agg(
        F.count("*").alias("plays"),
        F.count_if("skipped").alias("skips"),
        F.countDistinct("user_id").alias("listeners"),
        F.sum("heard_ms").alias("heard_ms"),
        F.avg(share).alias("completion"),
    )


def run(spark: SparkSession, source: session.Files, out: session.Files, day: date, days: int) -> None:
    keys = [k for k in source.walk(f"topic={TOPIC}") + source.walk(f"compact/topic={TOPIC}") + source.walk(f"manifest/topic={TOPIC}")]
    counted = hours([k for k in lake.files(keys, source.read)], day, days)
    version = f"{time.time_ns():019d}"
    plays = 0
    if counted:
        records = spark.read.parquet(*map(source.url, counted)).where("type = 'TrackPlayed'")
        time_us = F.unix_micros("time").alias("time")
        rows = records.select("id", "user_id", time_us, "payload").mapInArrow(listens, LISTEN)
        told = summarize(rows, day).persist()
        told.coalesce(1).write.parquet(out.url(f"date={day:%Y-%m-%d}/version={version}"))
        plays = told.agg(F.sum("plays")).first()[0] or 0  # type: ignore[index]
        told.unpersist()
    manifest = {"version": version, "plays": plays, "files": len(counted)}
    out.write(f"date={day:%Y-%m-%d}/manifest.json", json.dumps(manifest).encode())
    for name in out.names(f"date={day:%Y-%m-%d}"):
        if name.startswith("version=") and name < f"version={version}":
            out.remove(f"date={day:%Y-%m-%d}/{name}")


def main() -> None:
    p = argparse.ArgumentParser(description="Tells what a day of listens was like, track by track.")
    p.add_argument("--lake", required=True, help="the lake: s3a://bucket/lake, file:///data/blobs/lake")
    p.add_argument("--out", required=True, help="where to write")
    p.add_argument("--day", required=True, type=date.fromisoformat, action="append", help="YYYY-MM-DD of UTC; may be repeated")
    p.add_argument("--late-days", type=int, default=2, help="how many days after it files are looked at for listens of a day")
    p.add_argument("--s3-endpoint", default="", help="URL of an S3 server beside Amazon's")
    p.add_argument("--shards", type=int, default=16, help="tasks of each step")
    a = p.parse_args()
    spark = session.start("segue plays by day", a.s3_endpoint, {"spark.sql.shuffle.partitions": str(a.shards)})
    for day in a.day:
        run(spark, session.Files(spark, a.lake), session.Files(spark, a.out), day, a.late_days)


if __name__ == "__main__":
    main()
