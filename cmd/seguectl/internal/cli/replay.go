package cli

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
)

type replayCmd struct {
	Topic     string `arg:"" help:"Topic, such as track-played-events."`
	Partition *int32 `placeholder:"N" help:"Only this partition."`
	Offset    int64  `placeholder:"N" help:"Begin at this offset of each partition."`
	From      when   `placeholder:"TIME" help:"Leave out what happened before: 2006-01-02, 2006-01-02T15:04:05Z, or 2h for two hours ago."`
}

// replayed is one line of what is printed.
type replayed struct {
	Topic     string          `json:"topic"`
	Partition int32           `json:"partition"`
	Offset    int64           `json:"offset"`
	LogTime   string          `json:"log_time"`
	Key       string          `json:"key"`
	Event     json.RawMessage `json:"event,omitempty"`
	Raw       string          `json:"raw,omitempty"` // of what is no event, in base64
}

// Run prints everything that a topic ever had, in order within a partition, one JSON object
// a line.
func (c *replayCmd) Run(ctx context.Context, r *run) error {
	_, a, err := r.api()
	if err != nil {
		return err
	}
	stream, err := a.Audit().ReplayEvents(ctx, &warehousev1.ReplayEventsRequest{
		Topic: c.Topic, Partition: c.Partition, Offset: c.Offset, From: c.From.stamp(), Json: true,
	})
	if err != nil {
		return fmt.Errorf("replay events: %w", err)
	}
	defer stream.Close()
	w := bufio.NewWriter(r.Out)
	n := 0
	for stream.Receive() {
		for _, e := range stream.Msg().GetEvents() {
			if err := printReplayed(w, c.Topic, e); err != nil {
				return fmt.Errorf("write: %w", err)
			}
			n++
		}
	}
	if err := errors.Join(stream.Err(), w.Flush()); err != nil {
		return fmt.Errorf("replay events after %d: %w", n, err)
	}
	r.note("%d events.", n)
	return nil
}

func printReplayed(w *bufio.Writer, topic string, e *warehousev1.ReplayedEvent) error {
	line := replayed{
		Topic: topic, Partition: e.GetPartition(), Offset: e.GetOffset(), LogTime: e.GetLogTime().AsTime().Format("2006-01-02T15:04:05.000000Z"), Key: string(e.GetKey()),
	}
	if e.GetEnvelope() != nil {
		line.Event = json.RawMessage(e.GetJson())
	} else {
		line.Raw = base64.StdEncoding.EncodeToString(e.GetRaw())
	}
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
