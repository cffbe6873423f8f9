"""Decodes records of the event log: an Envelope with its payload inside (proto/segue/event/v1)."""

from __future__ import annotations

import functools
import pkgutil
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

MAX_VALUE = 64 << 10  # event.MaxValue
ID = re.compile(r"[0-9A-Za-z]{22}")
MARKET = re.compile(r"[A-Z]{2}")

# What protobuf calls a valid Timestamp: years 1 to 9999.
MIN_SECONDS, MAX_SECONDS = -62135596800, 253402300799


class Unreadable(ValueError):
    """Says why a record is no event."""


@dataclass(frozen=True)
class Play:
    """One listen. time is when the play began, in microseconds of Unix time; market is "" where it is not known."""

    id: str
    time: int
    market: str
    track: str


@functools.cache
def message(name: str) -> Any:
    """The class of a message, from the descriptors that make gen wrote beside this file."""
    data = pkgutil.get_data(__package__ or "segue_jobs", "events.binpb")
    if data is None:
        raise FileNotFoundError("events.binpb")
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("segue.event.v1." + name))


def micros(t: Any) -> int | None:
    """A Timestamp in microseconds; None for one that is not valid."""
    if not (MIN_SECONDS <= t.seconds <= MAX_SECONDS and 0 <= t.nanos < 1_000_000_000):
        return None
    return int(t.seconds) * 1_000_000 + int(t.nanos) // 1000


def play(value: bytes) -> Play | None:
    """The listen in a record; None for an event of another type, Unreadable for what is no event."""
    if len(value) > MAX_VALUE:
        raise Unreadable(f"{len(value)} bytes")
    try:
        envelope = message("Envelope").FromString(value)
    except Exception as e:  # the runtime has no kind of its own for all that can be wrong
        raise Unreadable(str(e)) from e
    if not ID.fullmatch(envelope.id) or not envelope.type or not envelope.HasField("payload"):
        raise Unreadable("no id, type or payload")
    happened = micros(envelope.time)
    if not envelope.HasField("time") or happened is None:
        raise Unreadable("no time")
    if envelope.type != "TrackPlayed":
        return None
    try:
        played = message("TrackPlayed").FromString(envelope.payload.value)
    except Exception as e:
        raise Unreadable(str(e)) from e
    if not ID.fullmatch(played.track_id):
        raise Unreadable("no track")
    began = micros(played.started) if played.HasField("started") else None
    market = played.market if MARKET.fullmatch(played.market) else ""
    return Play(envelope.id, happened if began is None else began, market, played.track_id)


# What decode makes of records; track is null for what is no event.
PLAYS = "id string, time timestamp, market string, track string, log_time timestamp"


def decode(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Maps Kafka's partition, offset, timestamp and value to PLAYS. What is no event has its place for an id."""
    for batch in batches:
        ids: list[str] = []
        times: list[int | None] = []
        markets: list[str | None] = []
        tracks: list[str | None] = []
        logged: list[int] = []
        columns = (batch.column(c) for c in ("partition", "offset", "timestamp", "value"))
        partitions, offsets, stamps, values = columns
        stamps = stamps.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        rows = zip(partitions.to_pylist(), offsets.to_pylist(), stamps.to_pylist(), values.to_pylist(), strict=True)
        for partition, offset, stamp, value in rows:
            try:
                p = play(value or b"")
            except Unreadable:
                p = Play(f"{partition}/{offset}", stamp, "", "")
            if p is None:
                continue
            ids.append(p.id)
            times.append(p.time)
            markets.append(p.market)
            tracks.append(p.track or None)
            logged.append(stamp)
        at = pa.timestamp("us", "UTC")
        yield pa.RecordBatch.from_arrays(
            [pa.array(ids, pa.string()), pa.array(times, at), pa.array(markets, pa.string()), pa.array(tracks, pa.string()), pa.array(logged, at)],
            ["id", "time", "market", "track", "log_time"],
        )
