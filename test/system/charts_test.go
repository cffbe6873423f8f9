//go:build system

package system

import (
	"time"

	chartsv1 "github.com/segue-music/segue/gen/segue/charts/v1"
)

// charted finds a track that was heard in the chart of the day, everywhere and in the
// market of the account that heard it, and in no other.
func (d *deployment) charted(t listed) {
	d.Helper()
	admin := d.admin()
	me, err := admin.Accounts.GetMe(d.Context(), nil)
	if err != nil {
		d.Fatal(err)
	}
	plays := func(market string) (n uint64, err error) {
		res, err := admin.Charts.GetChart(d.Context(), &chartsv1.GetChartRequest{Period: chartsv1.Period_PERIOD_DAY, Market: market})
		for _, e := range res.GetEntries() {
			if e.GetTrackId() == t.ID {
				n = e.GetPlays()
			}
		}
		return n, err
	}
	d.until(60*time.Second, "a chart of the day", func() error {
		everywhere, err := plays("")
		if err != nil || everywhere == 0 {
			return errorf("%d plays: %v", everywhere, err)
		}
		if own, err := plays(me.GetAccount().GetMarket()); err != nil || own != everywhere {
			return errorf("%d plays, %d of them in the listener's market: %v", everywhere, own, err)
		}
		return nil
	})
	if n, err := plays("JP"); err != nil || n != 0 {
		d.Errorf("%d plays in a market where nobody is: %v", n, err)
	}
}
