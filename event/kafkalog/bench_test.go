package kafkalog_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/segue-music/segue/event"
)

// BenchmarkAppend appends in calls of 100 events of 200 bytes, as many at a time as there
// are producers.
func BenchmarkAppend(b *testing.B) {
	for _, producers := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(producers, "x100"), func(b *testing.B) { appendBatches(b, openFake(b), producers) })
	}
}

func appendBatches(b *testing.B, l event.Log, producers int) {
	const each = 100
	value := bytes.Repeat([]byte("0123456789"), 18)
	b.SetParallelism(producers) // times GOMAXPROCS
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		batch := make([]event.Record, each)
		for i := range batch {
			batch[i] = event.Record{Topic: topicOfBench, Key: fmt.Appendf(nil, "user-%d", i*7919), Value: value}
		}
		for pb.Next() {
			if err := l.Append(b.Context(), batch...); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)*each/b.Elapsed().Seconds(), "events/s")
}

const topicOfBench = event.Playback
