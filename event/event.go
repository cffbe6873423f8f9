// Package event is where the services meet: the topics, the envelope of every event and
// the log that keeps them. Engines of the log are locallog and kafkalog; logtest holds
// both to the promises written here.
package event

import (
	"context"
	"errors"
	"iter"
	"time"
)

var (
	// ErrTopic says that there is no such topic, or no such partition of it.
	ErrTopic = errors.New("unknown topic or partition")
	// ErrNotOwner refuses an event on a topic of another owner.
	ErrNotOwner = errors.New("topic belongs to another owner")
	// ErrTooLarge refuses what is over the bounds of a record.
	ErrTooLarge = errors.New("event is too large")
	// ErrCorrupt says that stored records do not read back as they were written.
	ErrCorrupt = errors.New("event log is corrupt")
	// ErrFailed is sticky: a write or a sync of the log failed, so nothing can be promised
	// about later ones until the log is opened anew.
	ErrFailed = errors.New("event log has failed")
	// ErrClosed is returned by every use of a closed log.
	ErrClosed = errors.New("event log is closed")
)

// Bounds of one record, the same for every engine.
const (
	MaxKey     = 256      // bytes
	MaxValue   = 64 << 10 // bytes
	MaxHeaders = 16       // each name and value at most MaxKey bytes
)

// Header is a named value beside the payload, readable without parsing it.
type Header struct {
	Name  string
	Value []byte
}

// Record is one entry of a topic. Append uses Topic, Key, Value and Headers; the rest is
// set by the log and filled in by Read.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64 // from 0, rising within the partition; an engine may leave gaps
	// Time is the log's clock at Append, UTC; it never goes back within a partition.
	Time    time.Time
	Key     []byte // records of one key stay in order
	Value   []byte
	Headers []Header
}

// Handler handles one record. It is called again with the same record after a crash, so
// it is idempotent by the event's id.
type Handler func(ctx context.Context, rec Record) error

// Portion is a partition that one caller of Divide works on.
type Portion struct {
	Topic     string
	Partition int32
	// Commit notes durably that the group continues at offset next, as Log.Commit does. It
	// fails when the portion has gone to another.
	Commit func(ctx context.Context, next int64) error
}

// Log keeps records by topic and partition. All methods may be called concurrently.
type Log interface {
	// Append stores records and returns when all are durable. Records of one key keep the
	// order of the call, and of calls that followed each other. After an error any part
	// of the records may have been stored; the caller repeats, consumers drop doubles.
	// Readers see the records from then on; behind a spool, once that has delivered them.
	Append(ctx context.Context, recs ...Record) error

	// Partitions is the number of partitions of a topic in this engine, at least 1.
	Partitions(ctx context.Context, topic string) (int32, error)

	// Read yields the durable records of one partition in order, from offset on, or from
	// the oldest still kept. Without follow it ends at what was durable when it began;
	// with follow it waits for more until ctx ends, whose error it then yields. The
	// record is the caller's. After an error it ends.
	Read(ctx context.Context, topic string, partition int32, offset int64, follow bool) iter.Seq2[Record, error]

	// OffsetAt is the offset of the first record with a time of t or later; the next
	// offset to be given where there is none.
	OffsetAt(ctx context.Context, topic string, partition int32, t time.Time) (int64, error)

	// Bounds are the oldest offset still kept and the next one to be given.
	Bounds(ctx context.Context, topic string, partition int32) (first, next int64, err error)

	// Commit notes durably that group continues at offset next. A lower one than before
	// replays. A group is lower-case letters, digits and "-", at most 64 bytes.
	Commit(ctx context.Context, group, topic string, partition int32, next int64) error

	// Committed is the offset at which group continues, 0 when it never committed.
	Committed(ctx context.Context, group, topic string, partition int32) (int64, error)

	// Consume calls handle with every record of the topics from the committed offsets on,
	// in order within a partition, concurrently between partitions, and commits after
	// the effect: a record is handled at least once. Of several Consume calls of one
	// group each partition is handled by one. It returns the handler's first error, or
	// ctx's when that ends.
	Consume(ctx context.Context, group string, topics []string, handle Handler) error

	// Divide shares the partitions of the topics among all who call it with one group, and
	// calls work, side by side, with each that falls to this caller. A partition is one
	// caller's at a time: when another is to have it the ctx of its work ends, and it goes
	// over after work has returned. Only who was silent for seconds loses it without that,
	// and finds that Commit fails. It returns work's first error, or ctx's when that ends.
	// A group that divides does not consume.
	Divide(ctx context.Context, group string, topics []string, work func(ctx context.Context, p Portion) error) error

	// Close releases the log. What Append acknowledged stays.
	Close() error
}

// Lag is the number of records of a topic that group has not committed, over all
// partitions.
func Lag(ctx context.Context, log Log, group, topic string) (lag int64, err error) {
	err = Uncommitted(ctx, log, group, topic, func(_ int32, from, next int64) error {
		lag += next - from
		return nil
	})
	return lag, err
}

// Uncommitted calls left for each partition of a topic in which group has not committed
// all: offsets from from to next, that one not included. It ends with left's first error.
func Uncommitted(ctx context.Context, log Log, group, topic string, left func(partition int32, from, next int64) error) error {
	n, err := log.Partitions(ctx, topic)
	if err != nil {
		return err
	}
	for p := range n {
		first, next, err := log.Bounds(ctx, topic, p)
		if err != nil {
			return err
		}
		done, err := log.Committed(ctx, group, topic, p)
		if err != nil {
			return err
		}
		if from := max(first, done); from < next {
			if err := left(p, from, next); err != nil {
				return err
			}
		}
	}
	return nil
}

// CheckGroup refuses a group name that is not lower-case letters, digits and "-".
func CheckGroup(group string) error {
	if group == "" || len(group) > 64 {
		return errors.New("group name is empty or over 64 bytes")
	}
	for _, c := range []byte(group) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return errors.New("group name is not lower-case letters, digits and -")
		}
	}
	return nil
}

// Check refuses a record over the bounds or of an unknown topic.
func (r Record) Check() error {
	if _, ok := Lookup(r.Topic); !ok {
		return ErrTopic
	}
	return r.CheckSize()
}

// CheckSize refuses, with ErrTooLarge, a record over the bounds.
func (r Record) CheckSize() error {
	if len(r.Key) > MaxKey || len(r.Value) > MaxValue || len(r.Headers) > MaxHeaders {
		return ErrTooLarge
	}
	for _, h := range r.Headers {
		if len(h.Name) > MaxKey || len(h.Value) > MaxKey {
			return ErrTooLarge
		}
	}
	return nil
}
