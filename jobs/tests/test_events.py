"""What decode makes of records, and of what only looks like one."""

from __future__ import annotations

import unittest

import pyarrow as pa
from segue_jobs import events, plays_stream

ID, TRACK = "0123456789abcdefghijAZ", "t" * 22


def record(**change: object) -> bytes:
    played = events.message("TrackPlayed")(play_id="p", track_id=TRACK, market="SE")
    played.started.seconds = 1_700_000_000
    for name in ("track_id", "market"):
        if name in change:
            setattr(played, name, change.pop(name))
    if change.pop("no_start", False):
        played.ClearField("started")
    envelope = events.message("Envelope")(id=ID, type="TrackPlayed")
    envelope.time.seconds = 1_700_000_100
    envelope.time.nanos = 1999
    envelope.payload.type_url = "type.googleapis.com/segue.event.v1.TrackPlayed"
    envelope.payload.value = played.SerializeToString()
    for name, value in change.items():
        setattr(envelope, name, value)
    return bytes(envelope.SerializeToString())


class PlayTest(unittest.TestCase):
    def test_play(self) -> None:
        self.assertEqual(events.play(record()), events.Play(ID, 1_700_000_000_000_000, "SE", TRACK))

    def test_without_a_beginning_it_is_when_it_was_counted(self) -> None:
        got = events.play(record(no_start=True))
        assert got is not None
        self.assertEqual(got.time, 1_700_000_100_000_001)

    def test_market_of_another_form_is_not_known(self) -> None:
        for market in ("", "se", "SWE", "*"):
            got = events.play(record(market=market))
            assert got is not None
            self.assertEqual(got.market, "", market)

    def test_other_events_are_none(self) -> None:
        self.assertIsNone(events.play(record(type="SessionOpened")))

    def test_unreadable(self) -> None:
        for value in (b"", b"\xff\xff", record(id="short"), record(id="!" * 22), record(type=""), record(track_id=""), b"\0" * (events.MAX_VALUE + 1)):
            with self.assertRaises(events.Unreadable):
                events.play(value)

    def test_fields_of_a_newer_program_are_passed_over(self) -> None:
        self.assertEqual(events.play(record() + b"\xfa\x7f\x01x"), events.play(record()))


class DecodeTest(unittest.TestCase):
    def test_each_record_is_a_row_or_none(self) -> None:
        stamp = 1_700_000_200_000_000
        batch = pa.RecordBatch.from_arrays(
            [pa.array([1, 2, 3], pa.int32()), pa.array([4, 5, 6], pa.int64()), pa.array([stamp] * 3, pa.timestamp("us", "UTC")),
             pa.array([record(), b"\xff", record(type="Other")], pa.binary())],
            ["partition", "offset", "timestamp", "value"],
        )  # fmt: skip
        rows = [r for b in events.decode(iter([batch])) for r in b.to_pylist()]
        self.assertEqual([(r["id"], r["track"]) for r in rows], [(ID, TRACK), ("2/5", None)])


class PeriodTest(unittest.TestCase):
    def test_end(self) -> None:
        self.assertEqual(plays_stream.end("hour", "20261231T23"), plays_stream.end("day", "20261231"))


if __name__ == "__main__":
    unittest.main()
