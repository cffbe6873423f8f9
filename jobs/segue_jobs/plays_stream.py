"""Counts listens as they come: per minute, market and track, and in charts by hour and day.

What it writes, below --root:

    minutes/date=D/batch=N/           plays that batch N added: minute, market, track, plays
    seen/date=D/batch=N/              ids of the listens that batch N counted, by the day and hour in which they began
    totals/period=P/start=S/batch=N/  plays of an hour or a day up to batch N: market, track, plays
    charts/P/S/N.json                 the first 50 of those, for services/charts
    manifest/N.json                   batch N counts; without it nothing that bears its number does
    checkpoint/                       Spark's own

N has 19 digits. The plays of a minute are the sum over the batches that have a manifest.

Each record of the log is in one batch, and a batch that is done again after a crash has the same records, sees the
same earlier batches and overwrites what it wrote before. So nothing is counted twice, and nothing lost.

A listen belongs to the minute in which it began, which is minutes to days before it is in the log. Nothing is too
late: what comes after the watermark, 10 minutes behind the latest beginning seen, is added to its minute all the same,
the chart of its hour is published anew, and the manifest tells how many there were. Doubles are known by the event's
id: those of the last hour by Spark's state, which a watermark on arrival keeps small, older ones by the ids that
were written down. An hour of state is enough for a listen that began within the last 50 minutes, since neither copy
can have come before that.
"""

from __future__ import annotations

import argparse
import json
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from segue_jobs import events, session

TOPIC = "track-played-events"
DATE = "yyyy-MM-dd"
PERIODS = {"hour": "yyyyMMdd'T'HH", "day": "yyyyMMdd"}
SEEN = "id string, hour timestamp, date string, batch string"
TOTALS = "market string, track string, plays bigint, period string, start string, batch string"
CHART_SIZE = 50
WATERMARK = timedelta(minutes=10)

# A double within the state's hour is known by it. Clocks of servers may differ by what is left of the hour.
STATE, DECIDES = "1 hour", "50 minutes"


def number(batch: int) -> str:
    return f"{batch:019d}"


def first(files: session.Files) -> None:
    """Refuses to begin anew where batches were written: their numbers would be taken twice."""
    if files.names("manifest") and not files.names("checkpoint/offsets"):
        raise SystemExit(f"{files.root} has batches and no checkpoint: take another root, or bring the checkpoint back")


class Sink:
    """Takes batches in, one after the other."""

    def __init__(self, spark: SparkSession, files: session.Files, shards: int) -> None:
        self.spark, self.files, self.shards = spark, files, shards
        self.begun = True

    def __call__(self, batch: DataFrame, batch_id: int) -> None:
        rows = batch.persist(StorageLevel.MEMORY_AND_DISK)
        try:
            self.take(rows, batch_id)
        finally:
            rows.unpersist()

    def take(self, rows: DataFrame, batch_id: int) -> None:
        # The first action of a batch, and of its state: the rest works on what it kept.
        counted = rows.agg(
            F.count_if(F.col("track").isNull()).alias("unreadable"),
            F.collect_set(F.when(F.col("track").isNotNull() & F.col("old"), F.date_trunc("hour", "time"))).alias("old_hours"),
        ).first()
        assert counted is not None
        fresh = rows.where("track is not null")
        if counted["old_hours"]:
            fresh = self.unseen(fresh, counted["old_hours"], batch_id)
        fresh = fresh.drop("old").withColumn("batch", F.lit(number(batch_id))).persist(StorageLevel.MEMORY_AND_DISK)
        try:
            self.write(fresh, batch_id, counted["unreadable"])
        finally:
            fresh.unpersist()

    def manifest(self, batch_id: int) -> dict[str, Any]:
        if batch_id < 0:
            return {"watermark": 0}
        found: dict[str, Any] = json.loads(self.files.read(f"manifest/{number(batch_id)}.json"))
        return found

    def unseen(self, rows: DataFrame, hours: list[datetime], batch_id: int) -> DataFrame:
        """rows without those of long ago that an earlier batch has counted."""
        known = [d for d in sorted({f"seen/date={h:%Y-%m-%d}" for h in hours}) if self.files.names(d)]
        if not known:
            return rows
        seen = self.spark.read.schema(SEEN).option("basePath", self.files.url("seen")).parquet(*map(self.files.url, known))
        seen = seen.where(F.col("batch") < number(batch_id)).where(F.col("hour").isin(hours)).select("id")
        return rows.where("not old").unionByName(rows.where("old").join(seen, "id", "left_anti").select(rows.columns))

    def write(self, fresh: DataFrame, batch_id: int, unreadable: int) -> None:
        before = self.manifest(batch_id - 1)
        minute = F.date_trunc("minute", "time")
        told = fresh.agg(
            F.count("*").alias("plays"),
            F.count_if(minute + F.expr("interval 1 minute") <= F.timestamp_micros(F.lit(before["watermark"]))).alias("late"),
            F.max(F.unix_micros(F.least("time", "log_time"))).alias("newest"),  # a clock ahead of the log's closes nothing
            F.collect_set(F.date_format("time", PERIODS["hour"])).alias("hours"),
        ).first()
        assert told is not None
        watermark = before["watermark"]
        if told["newest"] is not None:
            watermark = max(watermark, told["newest"] - int(WATERMARK.total_seconds() * 1e6))
        manifest = {
            "batch": batch_id, "watermark": watermark, "plays": told["plays"], "late": told["late"], "unreadable": unreadable, "charts": [],
        }  # fmt: skip
        if told["plays"]:
            manifest["charts"] = self.tables(fresh, minute, told["hours"], batch_id, watermark)
        self.files.write(f"manifest/{number(batch_id)}.json", json.dumps(manifest).encode())
        self.begun = False
        self.tidy(batch_id, manifest["charts"])

    def tables(self, fresh: DataFrame, minute: Column, hours: list[str], batch_id: int, watermark: int) -> list[str]:
        touched = [("hour", h) for h in sorted(hours)] + [("day", d) for d in sorted({h[:8] for h in hours})]
        dates = [f"date={d[:4]}-{d[4:6]}-{d[6:]}" for p, d in touched if p == "day"]
        if self.begun:
            # The first batch of a process may have been begun by another one.
            for folder in [f"{t}/{d}" for t in ("seen", "minutes") for d in dates] + [f"totals/period={p}/start={s}" for p, s in touched]:
                self.files.remove(f"{folder}/batch={number(batch_id)}")
        date = F.date_format("time", DATE).alias("date")
        self.put(fresh.select("id", F.date_trunc("hour", "time").alias("hour"), date, "batch"), "seen", "date", "batch")
        minutes = fresh.groupBy(minute.alias("minute"), "market", "track", date, "batch").agg(F.count("*").alias("plays")).persist()
        self.put(minutes, "minutes", "date", "batch")
        periods = [F.struct(F.lit(p).alias("period"), F.date_format("minute", form).alias("start")) for p, form in PERIODS.items()]
        added = minutes.select(F.explode(F.array(*periods)).alias("of"), "market", "track", "plays").select("of.*", "market", "track", "plays")
        try:
            return self.charts(added, touched, batch_id, watermark)
        finally:
            minutes.unpersist()

    def charts(self, added: DataFrame, touched: list[tuple[str, str]], batch_id: int, watermark: int) -> list[str]:
        """Adds to the totals of each period and publishes its chart."""
        totals = added
        if earlier := [t for p in touched if (t := self.newest(*p, batch_id))]:
            known = self.spark.read.schema(TOTALS).option("basePath", self.files.url("totals")).parquet(*map(self.files.url, earlier))
            totals = totals.unionByName(known.select(added.columns))
        totals = totals.groupBy("period", "start", "market", "track").agg(F.sum("plays").alias("plays")).persist()
        self.put(totals.withColumn("batch", F.lit(number(batch_id))), "totals", "period", "start", "batch")
        everywhere = totals.groupBy("period", "start", "track").agg(F.sum("plays").alias("plays")).withColumn("market", F.lit("*"))
        of = Window.partitionBy("period", "start", "market").orderBy(F.desc("plays"), "track")
        ranked = totals.where("market != ''").unionByName(everywhere).withColumn("rank", F.row_number().over(of))
        entries: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {p: {} for p in touched}
        for r in sorted(ranked.where(F.col("rank") <= CHART_SIZE).collect(), key=lambda r: int(r["rank"])):
            chart = entries[r["period"], r["start"]].setdefault(r["market"], [])
            chart.append({"track": r["track"], "plays": r["plays"]})
        totals.unpersist()
        names = []
        for (period, start), markets in entries.items():
            name = f"charts/{period}/{start}/{number(batch_id)}.json"
            complete = end(period, start) <= watermark
            published = {"period": period, "start": start, "batch": batch_id, "complete": complete, "markets": markets}
            self.files.write(name, json.dumps(published, separators=(",", ":")).encode())
            names.append(name)
        return names

    def newest(self, period: str, start: str, batch_id: int) -> str | None:
        """Where the totals of a period up to the batch before lie."""
        folder = f"totals/period={period}/start={start}"
        earlier = [n for n in self.files.names(folder) if n < f"batch={number(batch_id)}"]
        return f"{folder}/{earlier[-1]}" if earlier else None

    def put(self, table: DataFrame, name: str, *by: str) -> None:
        table.write.mode("append").partitionBy(*by).parquet(self.files.url(name))

    def tidy(self, batch_id: int, charts: list[str]) -> None:
        """Removes totals and charts that a later batch has replaced, but for those that this batch began with."""
        for chart in charts:
            _, period, start, _ = chart.split("/")
            for folder, form in ((f"totals/period={period}/start={start}", "batch={}"), (f"charts/{period}/{start}", "{}.json")):
                for name in [n for n in self.files.names(folder) if n < form.format(number(batch_id))][:-1]:
                    self.files.remove(f"{folder}/{name}")


def end(period: str, start: str) -> int:
    """When a period is over, in microseconds of Unix time."""
    form = {"hour": "%Y%m%dT%H", "day": "%Y%m%d"}[period]
    length = {"hour": timedelta(hours=1), "day": timedelta(days=1)}[period]
    return int((datetime.strptime(start, form).replace(tzinfo=UTC) + length).timestamp()) * 1_000_000


def plays(records: DataFrame, shards: int) -> DataFrame:
    """The listens in records of Kafka, each once within the state's reach."""
    decoded = records.select("partition", "offset", "timestamp", "value").coalesce(shards).mapInArrow(events.decode, events.PLAYS)
    arrived = decoded.withColumn("arrival", F.current_timestamp())
    arrived = arrived.withColumn("old", F.col("time") < F.col("arrival") - F.expr(f"interval {DECIDES}"))
    return arrived.withWatermark("arrival", STATE).dropDuplicatesWithinWatermark(["id"]).drop("arrival")


def main() -> None:
    p = argparse.ArgumentParser(description="Counts listens from Kafka into windows and charts.")
    p.add_argument("--kafka", required=True, help="comma-separated host:port of brokers")
    p.add_argument("--topic", default=TOPIC)
    p.add_argument("--root", required=True, help="where to write: s3a://bucket/folder, file:///folder")
    p.add_argument("--s3-endpoint", default="", help="URL of an S3 server beside Amazon's")
    p.add_argument("--every", default="1 minute", help="how often a batch begins")
    p.add_argument("--most", type=int, default=5_000_000, help="records of a batch")
    p.add_argument("--shards", type=int, default=16, help="tasks of each step")
    p.add_argument("--state", choices=("rocksdb", "memory"), default="rocksdb", help="where ids of the last hour lie on the workers")
    a = p.parse_args()
    # Batches are small and alike: to plan them anew while they run costs more than it saves.
    more = {"spark.sql.shuffle.partitions": str(a.shards), "spark.sql.adaptive.enabled": "false"}
    if a.state == "rocksdb":
        more["spark.sql.streaming.stateStore.providerClass"] = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
    spark = session.start("segue plays", a.s3_endpoint, more)
    files = session.Files(spark, a.root)
    first(files)
    records = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", a.kafka)
        .option("subscribe", a.topic)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", a.most)
        .option("failOnDataLoss", "true")
        .load()
    )
    query = (
        plays(records, a.shards)
        .writeStream.queryName("plays")
        .foreachBatch(Sink(spark, files, a.shards))
        .option("checkpointLocation", files.url("checkpoint"))
        .trigger(processingTime=a.every)
        .start()
    )
    signal.signal(signal.SIGTERM, lambda *_: query.stop())
    print("counting", flush=True)
    query.awaitTermination()


if __name__ == "__main__":
    main()
