"""Which files count, and what BigQuery is told of them."""

from __future__ import annotations

import json
import unittest

from segue_jobs import bigquery, lake, plays_daily

HOUR = "topic=track-played-events/date=2026-03-29/hour=01"


class FilesTest(unittest.TestCase):
    def test_without_a_manifest_all_files_as_written(self) -> None:
        keys = [f"{HOUR}/p00000-0000000000000000000.parquet", f"{HOUR}/p00001-0000000000000000007.parquet", f"{HOUR}/else", "compact/x"]
        self.assertEqual(list(lake.files(keys, lambda _: b"")), keys[:2])

    def test_the_newest_manifest_and_what_it_does_not_cover(self) -> None:
        merged = {"key": f"compact/{HOUR}/m.parquet", "partition": 0, "first_offset": 0, "next_offset": 20}
        manifests = {f"manifest/{HOUR}/000001.json": {"files": []}, f"manifest/{HOUR}/000002.json": {"files": [merged]}}
        raw = [f"{HOUR}/p{p:05d}-{first:019d}.parquet" for p, first in ((0, 0), (0, 10), (0, 20), (1, 0))]
        keys = [*manifests, *raw, merged["key"]]
        got = lake.files([str(k) for k in keys], lambda k: json.dumps(manifests[k]).encode())
        self.assertEqual(set(got), {merged["key"], raw[2], raw[3]})

    def test_hours_of_a_day_and_of_the_days_after(self) -> None:
        keys = [f"compact/topic=t/date=2026-03-{d}/hour=23/x.parquet" for d in (28, 29, 30, 31)]
        day = plays_daily.date(2026, 3, 29)
        self.assertEqual(plays_daily.hours(keys, day, 1), keys[1:3])


class BigQueryTest(unittest.TestCase):
    def test_a_day_replaces_its_partition(self) -> None:
        load = bigquery.load_job("p-roject", "d", "track-played-events", ["gs://b/x"], "2026-03-29")["configuration"]["load"]
        self.assertEqual(load["destinationTable"]["tableId"], "track_played_events$20260329")
        self.assertEqual(load["writeDisposition"], "WRITE_TRUNCATE")

    def test_too_many_files(self) -> None:
        with self.assertRaises(ValueError):
            bigquery.load_job("p-roject", "d", "t", ["gs://b/x"] * (bigquery.MOST_URIS + 1))

    def test_topic_that_is_no_name(self) -> None:
        with self.assertRaises(ValueError):
            bigquery.external_table("p-roject", "d", "t`; DROP", "gs://b/x")


if __name__ == "__main__":
    unittest.main()
