package spool_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/spool"
)

// BenchmarkDeliver is how long a spool that a long outage left takes to be empty.
func BenchmarkDeliver(b *testing.B) {
	const each = 100
	f, dir := newFake(b), b.TempDir()
	f.away.Store(true)
	l := open(b, dir, spool.Options{Connect: connect(f.seeds, ""), Ask: time.Second})
	batch := make([]event.Record, each)
	value := bytes.Repeat([]byte("x"), 180)
	for n := 0; n < b.N; n += each {
		for i := range batch {
			batch[i] = event.Record{Topic: topic, Key: fmt.Appendf(nil, "user-%d", n/each+i), Value: value}
		}
		if err := l.Append(b.Context(), batch...); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	f.away.Store(false)
	began := time.Now()
	if err := settle(b.Context(), l); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "events/s")
}
