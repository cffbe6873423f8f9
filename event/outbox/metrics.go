package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/event"
)

// Backlog is the number of events that wait for the log, and since when the oldest does;
// the zero time where none waits.
func (r *Relay) Backlog(ctx context.Context) (rows int64, oldest time.Time, err error) {
	if rows, err = r.box.Pending(ctx); err != nil || rows == 0 {
		return rows, time.Time{}, err
	}
	value, err := r.box.Oldest(ctx)
	if err != nil || value == nil { // published between the two questions
		return 0, time.Time{}, err
	}
	env, err := event.Unmarshal(value)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("read oldest of outbox: %w", err)
	}
	return rows, env.GetTime().AsTime(), nil
}

// backlogLimit bounds what a scrape waits for one database.
const backlogLimit = 2 * time.Second

// Metrics are the figures of the backlog, asked for at each scrape.
func (r *Relay) Metrics() prometheus.Collector {
	owner := prometheus.Labels{"owner": string(r.box.Owner())}
	return backlog{
		relay: r,
		rows:  prometheus.NewDesc("segue_outbox_pending_events", "Events of committed changes that the log does not have yet.", nil, owner),
		age:   prometheus.NewDesc("segue_outbox_oldest_age_seconds", "Age of the oldest event that waits for the log, 0 where none waits.", nil, owner),
	}
}

type backlog struct {
	relay     *Relay
	rows, age *prometheus.Desc
}

func (b backlog) Describe(ch chan<- *prometheus.Desc) { ch <- b.rows; ch <- b.age }

func (b backlog) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), backlogLimit)
	defer cancel()
	rows, oldest, err := b.relay.Backlog(ctx)
	if err != nil {
		// No figure is the truth; the database's own readiness says why.
		return
	}
	age := 0.0
	if rows > 0 {
		age = max(0, b.relay.box.Now().Sub(oldest).Seconds())
	}
	ch <- prometheus.MustNewConstMetric(b.rows, prometheus.GaugeValue, float64(rows))
	ch <- prometheus.MustNewConstMetric(b.age, prometheus.GaugeValue, age)
}
