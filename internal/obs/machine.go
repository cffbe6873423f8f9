package obs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/internal/diskspace"
)

// Machine tells what the process stands on: the room in its data folder, and whether the
// clock was set since now was first called, which is here.
func Machine(dir string, now func() time.Time) []prometheus.Collector {
	return []prometheus.Collector{newDisk(dir), newClock(now)}
}

// clock compares the wall clock with the one that only runs forward: what it was set by
// since the process began, by a step or by slewing.
type clock struct {
	now   func() time.Time
	start time.Time // with a monotonic reading
	desc  *prometheus.Desc
}

func newClock(now func() time.Time) clock {
	return clock{now, now(), prometheus.NewDesc("segue_clock_shift_seconds",
		"By how much the wall clock was set since the process began; tickets and tokens live by it.", nil, nil)}
}

func (c clock) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

func (c clock) Collect(ch chan<- prometheus.Metric) {
	now := c.now()
	// Round(0) takes the monotonic reading away: the first difference is of the wall.
	shift := now.Round(0).Sub(c.start.Round(0)) - now.Sub(c.start)
	ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, shift.Seconds())
}

// disk tells how much room the data folder has.
type disk struct {
	dir         string
	avail, size *prometheus.Desc
}

func newDisk(dir string) disk {
	return disk{
		dir:   dir,
		avail: prometheus.NewDesc("segue_data_avail_bytes", "Bytes that Segue may still write in the file system of its data folder.", nil, nil),
		size:  prometheus.NewDesc("segue_data_size_bytes", "Size of the file system of the data folder.", nil, nil),
	}
}

func (d disk) Describe(ch chan<- *prometheus.Desc) { ch <- d.avail; ch <- d.size }

func (d disk) Collect(ch chan<- prometheus.Metric) {
	avail, size, err := diskspace.Room(d.dir)
	if err != nil {
		return
	}
	ch <- prometheus.MustNewConstMetric(d.avail, prometheus.GaugeValue, float64(avail))
	ch <- prometheus.MustNewConstMetric(d.size, prometheus.GaugeValue, float64(size))
}
