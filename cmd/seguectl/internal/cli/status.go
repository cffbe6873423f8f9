package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/segue-music/segue/cmd/seguectl/internal/show"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
)

type statusCmd struct {
	Wait bool `help:"Wait until every upload is complete or has failed."`
	JSON bool `name:"json" help:"Print an object of counts."`
}

func (c *statusCmd) Help() string {
	return `Uploads that fail are counted and make no failure of this command: what can be played plays.`
}

type statusJSON struct {
	Total      uint64 `json:"total"`
	Queued     uint64 `json:"queued"`
	Processing uint64 `json:"processing"`
	Playable   uint64 `json:"playable"`
	Complete   uint64 `json:"complete"`
	Failed     uint64 `json:"failed"`
	Scanning   bool   `json:"scanning"`
}

// statusEvery is the time between two questions.
const statusEvery = 500 * time.Millisecond

func (c *statusCmd) Run(ctx context.Context, r *run) error {
	_, a, err := r.api()
	if err != nil {
		return err
	}
	s, err := status(ctx, a.Uploads().GetIngestStatus)
	if err == nil && c.Wait {
		s, err = c.await(ctx, r, s, a.Uploads().GetIngestStatus)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return show.JSON(r.Out, s)
	}
	r.say("%s", s)
	return nil
}

type ask func(context.Context, *uploadv1.GetIngestStatusRequest) (*uploadv1.GetIngestStatusResponse, error)

func status(ctx context.Context, ask ask) (statusJSON, error) {
	res, err := ask(ctx, &uploadv1.GetIngestStatusRequest{})
	if err != nil {
		return statusJSON{}, fmt.Errorf("ask for status: %w", err)
	}
	return statusJSON{
		Total: res.GetTotal(), Queued: res.GetQueued(), Processing: res.GetProcessing(), Playable: res.GetPlayable(),
		Complete: res.GetComplete(), Failed: res.GetFailed(), Scanning: res.GetScanning(),
	}, nil
}

// open is how many are still on their way. Playable ones are: their other qualities are
// being made.
func (s statusJSON) open() uint64 { return s.Queued + s.Processing + s.Playable }

func (s statusJSON) String() string {
	text := fmt.Sprintf("%d complete, %d playable, %d in work, %d waiting", s.Complete, s.Playable, s.Processing, s.Queued)
	if s.Failed > 0 {
		text += fmt.Sprintf(", %d failed", s.Failed)
	}
	if s.Scanning {
		text += ", looking for more"
	}
	return text
}

func (c *statusCmd) await(ctx context.Context, r *run, s statusJSON, ask ask) (statusJSON, error) {
	bar := show.NewCount(r.Err, "ingest", int64(s.Total))
	defer bar.Close()
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for s.Scanning || s.open() > 0 {
		bar.Set(int64(s.Total-min(s.open(), s.Total)), int64(max(s.Total, 1)))
		if !show.Terminal(r.Err) {
			bar.Describe(s.String())
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-tick.C:
		}
		var err error
		if s, err = status(ctx, ask); err != nil {
			return s, err
		}
	}
	return s, nil
}
