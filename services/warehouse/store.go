package warehouse

import (
	"context"
	"iter"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
)

// Row is one record of the log.
type Row struct {
	Topic     string
	Partition int32
	Offset    int64
	LogTime   time.Time // the log's clock, kept to the microsecond
	Key       []byte
	// Envelope is nil where the record's value is none; Raw is the value then. It is kept
	// whole, but for a client_time that is no valid time.
	Envelope *eventv1.Envelope
	Raw      []byte
	// PayloadJSON spells the payload out for those who read the files without our types.
	PayloadJSON string
}

// Time is when it happened: the event's own time, else the log's.
func (r *Row) Time() time.Time {
	if r.Envelope != nil {
		return r.Envelope.GetTime().AsTime()
	}
	return r.LogTime.Truncate(time.Microsecond)
}

// File holds rows of one partition, within one hour of the log's time.
type File struct {
	// Name is where it lies: topic=…/date=…/hour=…/….parquet.
	Name      string
	Topic     string
	Partition int32
	// First and Next are the offsets that it covers, Next not included.
	First, Next int64
	// Oldest and Newest bound the rows' Time; Oldest may be up to a microsecond early,
	// Newest as much late.
	Oldest, Newest time.Time
}

// Hint says what a reader looks for. A zero field says nothing.
type Hint struct {
	From, To        time.Time // of Row.Time, To not included
	Subject, UserID string    // either is enough
	ActorID         string
	TraceID         string
}

// Store keeps files of rows. Methods may be called concurrently.
type Store interface {
	// Write makes one file of rows, which covers the offsets from first to the last
	// row's. Rows are of one topic and partition and of one hour of LogTime; their
	// offsets rise. When it returns nil the file is durable and whole, and Files has it;
	// when it returns an error or the process dies in it, the file is there as a whole
	// or not at all. Of all who write from one offset of a partition on, with rows of one
	// hour, one makes the file: the others change nothing and are given that one's, which
	// may end elsewhere. They go on at its Next. The rows are the caller's again when it
	// returns.
	Write(ctx context.Context, first int64, rows []Row) (File, error)
	// Files are all files by Topic, Partition, First, and the longer one first. Files of
	// other processes may appear late.
	Files(ctx context.Context) ([]File, error)

	// Compact replaces files of hours in which nobody writes any more, those that closed
	// says, by fewer and larger ones, and returns how many hours it changed. The rows are
	// the same, and who lists files sees the old or the new ones of an hour, never both
	// or neither. Old ones can be read for a day more. Several may compact at a time.
	Compact(ctx context.Context, closed func(topic string, hour time.Time) bool) (int, error)
	// Rows yields the rows of a file by Time, then Offset. Rows that the hint rules out
	// may be missing, no others. After an error it ends.
	Rows(ctx context.Context, f File, hint Hint) iter.Seq2[Row, error]
}
