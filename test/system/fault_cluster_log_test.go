//go:build system && fault

package system

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
)

// place is where a record is in the log.
type place struct {
	Topic     string
	Partition int32
	Offset    int64
}

// records are those of Kafka, as a consumer that is not Segue reads them.
type records struct {
	ids  map[string]string // by id: what the event is about
	at   map[place]string  // id by place
	keys map[string]string // id by what it is about
}

// everywhere looks for the acknowledged events in Kafka, in the lake and by the API, each
// once, and returns how many records are there again with an id that was there before.
func (l *ledger) everywhere(p *person, want told) (again int) {
	d := l.d
	d.Helper()
	var got records
	d.until(2*time.Minute, "the acknowledged events in Kafka", func() error {
		got = l.inKafka()
		return l.missing(want, func(key string) bool { return got.ids[key] != "" || got.keys[key] != "" })
	})
	again = len(got.at) - len(got.ids)
	l.noGaps(got, "PlayerStateChanged player:", want.players)
	l.noGaps(got, "TrackChanged track:", want.tracks)

	var lake map[place]int
	d.until(2*time.Minute, "all of Kafka in the lake", func() error {
		d.must("events", "flush")
		if lake = d.inLake(); len(lake) < len(got.at) {
			return errorf("%d records of %d", len(lake), len(got.at))
		}
		return nil
	})
	l.compare("the lake", got.at, lake)
	l.compare("the replay", got.at, d.replay(p))

	// A search gives each event once, however many records there are of it.
	seen := map[string]int{}
	if err := p.eachEvent(time.Unix(1, 0), func(_ string, e *eventv1.Envelope) { seen[e.GetId()]++ }); err != nil {
		d.Fatal(err)
	}
	for id, what := range got.ids {
		if n := seen[id]; n == 0 && searched(what) {
			l.lose("%s %s is in Kafka and no search finds it", what, id)
		} else if n > 1 {
			l.double("%s %s is found %d times", what, id, n)
		}
	}
	d.Logf("%d records in Kafka of %d events, in the replay and in the lake", len(got.at), len(got.ids))
	return again
}

// searched says whether eachEvent looks into the topic.
func searched(what string) bool { return !strings.HasPrefix(what, event.TrackPlayed) }

// missing tells of events that are not there.
func (l *ledger) missing(want told, there func(key string) bool) error {
	var list []string
	for key, what := range want.events {
		if !there(key) {
			list = append(list, what+" "+key)
		}
	}
	if len(list) == 0 {
		return nil
	}
	slices.Sort(list)
	if time.Since(want.at) < time.Minute {
		return errorf("%d of %d are missing, such as %s", len(list), len(want.events), list[0])
	}
	for _, m := range list {
		l.lose("%s", m)
	}
	return nil
}

// noGaps looks for each revision of each subject up to the last that a client was told of: a
// change that nobody was told of has its event too.
func (l *ledger) noGaps(got records, kind string, last map[string]uint64) {
	for id, to := range last {
		for rev := uint64(1); rev <= to; rev++ {
			if got.keys[fmt.Sprint(kind, id, " ", rev)] == "" {
				l.lose("event of %s%s revision %d of %d", kind, id, rev, to)
			}
		}
	}
}

// compare wants each record of Kafka once in what was made of it.
func (l *ledger) compare(what string, kafka map[place]string, made map[place]int) {
	for at := range kafka {
		if made[at] == 0 {
			l.lose("record %v is not in %s", at, what)
		}
	}
	for at, n := range made {
		if n > 1 {
			l.double("record %v is %d times in %s", at, n, what)
		}
	}
}

// inKafka reads every topic from its beginning to what is now its end.
func (l *ledger) inKafka() records {
	d := l.d
	d.Helper()
	got := records{ids: map[string]string{}, at: map[place]string{}, keys: map[string]string{}}
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(d.kafka, ",")...), kgo.FetchMaxWait(200*time.Millisecond))
	if err != nil {
		d.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(d.Context(), 2*time.Minute)
	defer cancel()
	var names []string
	for _, t := range event.Topics() {
		names = append(names, d.topics+t.Name)
	}
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, names...)
	if err != nil || ends.Error() != nil {
		d.Fatal(err, ends.Error())
	}
	from, open := map[string]map[int32]kgo.Offset{}, map[place]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset == 0 {
			return
		}
		if from[o.Topic] == nil {
			from[o.Topic] = map[int32]kgo.Offset{}
		}
		from[o.Topic][o.Partition] = kgo.NewOffset().AtStart()
		open[place{Topic: o.Topic, Partition: o.Partition}] = o.Offset
	})
	client.AddConsumePartitions(from)
	for len(open) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			d.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			part := place{Topic: r.Topic, Partition: r.Partition}
			if end, ok := open[part]; ok && r.Offset >= end-1 {
				delete(open, part)
			}
			topic := strings.TrimPrefix(r.Topic, d.topics)
			l.take(&got, place{topic, r.Partition, r.Offset}, r.Value)
		})
	}
	return got
}

// take notes a record. Two events of one change are one too many; a record of an event
// that is there is none.
func (l *ledger) take(got *records, at place, value []byte) {
	var e eventv1.Envelope
	if err := proto.Unmarshal(value, &e); err != nil {
		l.d.Errorf("record %v: %v", at, err)
		return
	}
	got.at[at] = e.GetId()
	got.ids[e.GetId()] = at.Topic + " " + e.GetType() + " " + e.GetSubject()
	if key := l.keyOf(&e); key != "" {
		if other := got.keys[key]; other != "" && other != e.GetId() {
			l.double("%s has the events %s and %s", key, other, e.GetId())
		}
		got.keys[key] = e.GetId()
	}
}

// replay reads every topic through the API, over the lake and the log.
func (d *deployment) replay(admin *person) map[place]int {
	d.Helper()
	out := map[place]int{}
	for _, t := range event.Topics() {
		stream, err := admin.Audit.ReplayEvents(d.Context(), &warehousev1.ReplayEventsRequest{Topic: t.Name})
		if err != nil {
			d.Fatal(err)
		}
		for stream.Receive() {
			for _, e := range stream.Msg().GetEvents() {
				out[place{t.Name, e.GetPartition(), e.GetOffset()}]++
			}
		}
		if err := stream.Err(); err != nil {
			d.Fatal(err)
		}
		_ = stream.Close()
	}
	return out
}

// inLake reads the Parquet files, as a reader does that is not Segue.
func (d *deployment) inLake() map[place]int {
	d.Helper()
	type column struct {
		Topic     string `parquet:"topic"`
		Partition int32  `parquet:"partition"`
		Offset    int64  `parquet:"offset"`
	}
	out := map[place]int{}
	for _, name := range d.lakeFiles() {
		rows, err := parquet.ReadFile[column](name)
		if err != nil {
			d.Fatalf("%s: %v", name, err)
		}
		for _, r := range rows {
			out[place(r)]++
		}
	}
	return out
}
