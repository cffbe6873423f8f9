package cli

import (
	"context"
	"fmt"

	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
)

type flushCmd struct{}

// Run writes what is open to Parquet now, instead of at the end of the hour.
func (c *flushCmd) Run(ctx context.Context, r *run) error {
	_, a, err := r.api()
	if err != nil {
		return err
	}
	res, err := a.Audit().FlushLake(ctx, &warehousev1.FlushLakeRequest{})
	if err != nil {
		return fmt.Errorf("flush events: %w", err)
	}
	r.note("Wrote %d events in %d files.", res.GetEvents(), len(res.GetFiles()))
	return nil
}
