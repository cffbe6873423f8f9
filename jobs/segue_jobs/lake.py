"""Which files of the lake count: docs/operations/lake.md."""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Callable, Iterable, Iterator


def files(keys: Iterable[str], read: Callable[[str], bytes]) -> Iterator[str]:
    """Those among keys, all below the lake's folder, that a reader has to read, of every topic and hour."""
    newest: dict[str, str] = {}
    raw: dict[str, list[tuple[int, int, str]]] = collections.defaultdict(list)
    for k in keys:
        if m := re.fullmatch(r"manifest/(topic=.+)/(\d+)\.json", k):
            newest[m[1]] = max(newest.get(m[1], ""), m[2])
        elif m := re.fullmatch(r"(topic=.+)/p(\d+)-(\d+)\.parquet", k):
            raw[m[1]].append((int(m[2]), int(m[3]), k))
    for hour in newest.keys() | raw.keys():
        listed = json.loads(read(f"manifest/{hour}/{newest[hour]}.json"))["files"] if hour in newest else []
        yield from (f["key"] for f in listed)
        for partition, first, key in raw[hour]:
            if not any(f["partition"] == partition and f["first_offset"] <= first < f["next_offset"] for f in listed):
                yield key
