"""Writes what BigQuery needs to read the lake: load jobs, tables over the files, and views without doubles.

For each topic below --out:

    TOPIC/DATE.load.json     a load job, as jobs.insert takes it: one day of the log into its partition of a table. It
                             replaces the partition, so that it may run again after a day was compacted, or at any time
    TOPIC/files.txt          the URIs that count now, one a line
    TOPIC/external.sql       a table over the files that files.txt names, for it and them in the bucket
    TOPIC/view.sql           the events of the loaded table, each once

Nothing of Google's is called: bq, or whoever runs jobs, takes the files from there.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
from collections.abc import Iterable
from typing import Any

from pyarrow import fs

from segue_jobs import lake

# The columns of the lake, in their order: what is not told is REQUIRED. docs/operations/lake.md says what they hold.
COLUMNS = (
    ("topic", "STRING"), ("partition", "INTEGER"), ("offset", "INTEGER"), ("log_time", "TIMESTAMP"), ("key", "BYTES"), ("id", "STRING"),
    ("type", "STRING"), ("time", "TIMESTAMP"), ("time_nanos", "INTEGER"), ("client_time", "TIMESTAMP"), ("client_time_nanos", "INTEGER"),
    ("user_id", "STRING"), ("actor_id", "STRING"), ("device_id", "STRING"), ("session_id", "STRING"), ("trace_id", "STRING"),
    ("subject", "STRING"), ("revision", "INTEGER"), ("schema_version", "INTEGER"), ("personal", "BYTES"), ("personal_key_id", "STRING"),
    ("payload_type", "STRING"), ("payload", "BYTES"), ("payload_json", "STRING"), ("unknown", "BYTES"),
)  # fmt: skip
NULLABLE = {"client_time"}
# What DDL calls the types of the API.
DDL = {"INTEGER": "INT64"}

MOST_URIS = 10_000  # of a load job
NAME = re.compile(r"[A-Za-z0-9_]{1,1024}")
PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")


def table_of(topic: str) -> str:
    """The name of a topic's table: BigQuery takes no hyphens there."""
    name = topic.replace("-", "_")
    if not NAME.fullmatch(name):
        raise ValueError(f"topic {topic!r} makes no name of a table")
    return name


def schema() -> list[dict[str, str]]:
    return [{"name": n, "type": t, "mode": "NULLABLE" if n in NULLABLE else "REQUIRED"} for n, t in COLUMNS]


def load_job(project: str, dataset: str, topic: str, uris: list[str], day: str = "") -> dict[str, Any]:
    """The job that makes a table of files: of a day, YYYY-MM-DD, or without one all of it."""
    if len(uris) > MOST_URIS:
        raise ValueError(f"{topic} {day}: {len(uris)} files, a load job takes {MOST_URIS}: compact the lake first")
    table = table_of(topic) + (("$" + day.replace("-", "")) if day else "")
    return {
        "configuration": {
            "load": {
                "sourceUris": uris,
                "sourceFormat": "PARQUET",
                "destinationTable": {"projectId": project, "datasetId": dataset, "tableId": table},
                "schema": {"fields": schema()},
                "createDisposition": "CREATE_IF_NEEDED",
                "writeDisposition": "WRITE_TRUNCATE",
                "timePartitioning": {"type": "DAY", "field": "log_time"},
                "clustering": {"fields": ["type", "user_id", "subject"]},
            }
        }
    }


def external_table(project: str, dataset: str, topic: str, files: str) -> str:
    """A table over the files that the object files names, one URI a line."""
    columns = ",\n".join(f"  `{n}` {DDL.get(t, t)}" for n, t in COLUMNS)
    return (
        f"CREATE OR REPLACE EXTERNAL TABLE `{project}.{dataset}.{table_of(topic)}_lake` (\n{columns}\n)\n"
        f"OPTIONS (\n  format = 'PARQUET',\n  uris = ['{files}'],\n  file_set_spec_type = 'NEW_LINE_DELIMITED_MANIFEST'\n);\n"
    )


def view(project: str, dataset: str, topic: str) -> str:
    """The events of a table, each once: of two records with one id the first."""
    name = f"{project}.{dataset}.{table_of(topic)}"
    return (
        f"CREATE OR REPLACE VIEW `{name}_events` AS\nSELECT * FROM `{name}`\nWHERE id != ''\n"
        "QUALIFY ROW_NUMBER() OVER (PARTITION BY id ORDER BY `partition`, `offset`) = 1;\n"
    )


def by_topic(files: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Files by topic and day."""
    out: dict[str, dict[str, list[str]]] = collections.defaultdict(lambda: collections.defaultdict(list))
    for key in files:
        if m := re.search(r"topic=([^/]+)/date=([^/]+)/", key):
            out[m[1]][m[2]].append(key)
    return out


def write(name: str, text: str) -> None:
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, "w", encoding="utf-8") as f:
        f.write(text)


def main() -> None:
    p = argparse.ArgumentParser(description="Writes load jobs and DDL by which BigQuery reads the lake.")
    p.add_argument("--lake", required=True, help="the lake: gs://bucket/lake, s3://bucket/lake, file:///data/blobs/lake")
    p.add_argument("--uri", default="", help="where BigQuery finds it, gs://bucket/lake; without it --lake")
    p.add_argument("--project", required=True)
    p.add_argument("--dataset", required=True)
    p.add_argument("--manifests", default="", help="where files.txt of each topic will lie, gs://bucket/folder; without it below --uri, in bigquery/")
    p.add_argument("--out", required=True, help="folder to write to")
    a = p.parse_args()
    uri = (a.uri or a.lake).rstrip("/")
    manifests = (a.manifests or uri + "/bigquery").rstrip("/")
    if not PROJECT.fullmatch(a.project) or not NAME.fullmatch(a.dataset) or re.search(r"['\\\s]", uri + manifests):
        p.error("project, dataset or URI is malformed")
    source, root = fs.FileSystem.from_uri(a.lake)
    found = source.get_file_info(fs.FileSelector(root, recursive=True))
    keys = [f.path[len(root) :].lstrip("/") for f in found if f.type == fs.FileType.File]

    def read(key: str) -> bytes:
        with source.open_input_stream(f"{root}/{key}") as f:
            return bytes(f.read())

    for topic, days in by_topic(lake.files(keys, read)).items():
        folder = os.path.join(a.out, topic)
        for day, names in days.items():
            job = load_job(a.project, a.dataset, topic, [f"{uri}/{n}" for n in sorted(names)], day)
            write(f"{folder}/{day}.load.json", json.dumps(job, indent=2) + "\n")
        write(f"{folder}/files.txt", "".join(f"{uri}/{n}\n" for names in days.values() for n in sorted(names)))
        write(f"{folder}/external.sql", external_table(a.project, a.dataset, topic, f"{manifests}/{topic}/files.txt"))
        write(f"{folder}/view.sql", view(a.project, a.dataset, topic))


if __name__ == "__main__":
    main()
