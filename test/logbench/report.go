package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// turn is one store under one workload, with what its rounds gave.
type turn struct {
	store   store
	load    workload
	results []result
}

func (t *turn) name() string { return t.store.name + "/" + t.load.name }

// fed is the workload as the store gets it.
func (t *turn) fed() workload {
	if t.store.alone != nil {
		return *t.store.alone
	}
	return t.load
}

func median[T int64 | float64 | time.Duration](of []result, get func(result) T) T {
	vs := make([]T, len(of))
	for i, r := range of {
		vs[i] = get(r)
	}
	slices.Sort(vs)
	return vs[len(vs)/2]
}

// goals are what the log is to do, by the peer's name: so many times its events a second.
func goals() map[string]float64 { return map[string]float64{"jetstream": 100, "sqlite": 2} }

func report(w io.Writer, o *options, floor time.Duration, turns []*turn) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Durable events of %d bytes; %d rounds of %v each, medians. One write of that size and its fdatasync take %.0f µs on this disk.\n",
		o.bytes, o.rounds, o.time, micro(floor))
	for _, load := range workloads() {
		var of []*turn
		for _, t := range turns {
			if t.load.name == load.name {
				of = append(of, t)
			}
		}
		if len(of) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%d producers × %d\n\n", load.producers, load.batch)
		b.WriteString("| store | producers × events of a call | events/s | CPU µs/event | p50 ms | p99 ms | events/sync | log ÷ store | goal |\n")
		b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
		for _, t := range of {
			row(&b, t, of[0])
		}
	}
	b.WriteString("\nWhat has happened when a producer is told:\n\n")
	for _, s := range stores() {
		acks := s.acks
		if s.name == "sqlite" {
			acks = fmt.Sprintf(acks, rowsPerInsert)
		}
		fmt.Fprintf(&b, "- %s: %s\n", s.name, acks)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func row(b *strings.Builder, t, log *turn) {
	perSync := "not told"
	if syncs := median(t.results, func(r result) int64 { return r.Syncs }); syncs > 0 {
		perSync = fmt.Sprintf("%.0f", median(t.results, func(r result) float64 { return float64(r.Events) / float64(r.Syncs) }))
	}
	times, goal := "", ""
	if log.store.name == "locallog" && t != log {
		// Round by round, so that a slow moment of the disk is on both sides.
		n := min(len(log.results), len(t.results))
		ratios := make([]float64, n)
		for i := range n {
			ratios[i] = log.results[i].rate() / t.results[i].rate()
		}
		slices.Sort(ratios)
		times = fmt.Sprintf("%.1f × (%.1f to %.1f)", ratios[n/2], ratios[0], ratios[n-1])
		if want, ok := goals()[t.store.name]; ok {
			goal = fmt.Sprintf("≥ %g ×: missed", want)
			if ratios[n/2] >= want {
				goal = fmt.Sprintf("≥ %g ×: met", want)
			}
		}
	}
	fed := t.fed()
	fmt.Fprintf(b, "| %s | %d × %d | %.0f | %.2f | %.2f | %.2f | %s | %s | %s |\n", t.store.name, fed.producers, fed.batch,
		median(t.results, result.rate), median(t.results, result.cpuMicro),
		micro(median(t.results, func(r result) time.Duration { return r.P50 }))/1e3,
		micro(median(t.results, func(r result) time.Duration { return r.P99 }))/1e3, perSync, times, goal)
}

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
