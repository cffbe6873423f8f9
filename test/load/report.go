package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/segue-music/segue/test/proc"
)

// The goals for 1,000 listeners.
const (
	goalShare  = 20.0 // per cent of one core
	goalMemory = 300  // KB each
)

func report(w io.Writer, o *options, before, after string, results []*result) {
	fmt.Fprintf(w, "%d listeners at 160 kbit/s for %.3g minutes, %d accounts, %d tracks of which %d have sound. %s; after: %s.\n\n",
		o.listeners, o.minutes, o.accounts, o.tracks, o.sound, before, after)
	fmt.Fprintln(w, "| | CPU, % of one core | of 1,000 listeners | RSS, KB each | its own, KB each | Mbit/s | starts/s | events/s | underruns | errors | clients' CPU, % |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|")
	for _, r := range results {
		seconds := r.to.At.Sub(r.from.At).Seconds()
		cpu := proc.Share(r.from, r.to)
		each := func(a, b uint64) float64 { return (float64(b) - float64(a)) / 1024 / float64(r.listeners) }
		fmt.Fprintf(w, "| %s | %.1f | %.1f | %.0f | %.0f | %.1f | %.2f | %.1f | %d | %d | %.1f |\n", r.name, cpu, cpu*1000/float64(r.listeners),
			each(r.idle.RSS, r.to.RSS), each(r.idle.Anon, r.to.Anon), 8*float64(r.after.Bytes-r.before.Bytes)/seconds/1e6,
			float64(r.after.Starts-r.before.Starts)/seconds, float64(r.after.Events-r.before.Events)/seconds,
			r.after.Underruns-r.before.Underruns, failures(r.after), proc.Share(r.clientsA, r.clients))
	}
	fmt.Fprintf(w, "\nGoal for 1,000 listeners: at most %.0f %% of one core and %d KB each, no underrun.\n", goalShare, goalMemory)
	for _, r := range results {
		details(w, r)
	}
}

func failures(c *counts) (n int) {
	for _, k := range c.Errors {
		n += k
	}
	return n
}

// details are for those who look for the reason.
func details(w io.Writer, r *result) {
	fmt.Fprintf(w, "\n%s: idle %d MB (%d MB its own), in the end %d MB (%d MB its own)", r.name, r.idle.RSS>>20, r.idle.Anon>>20, r.to.RSS>>20, r.to.Anon>>20)
	if r.server == nil {
		fmt.Fprintln(w, ".")
		return
	}
	seconds := r.to.At.Sub(r.from.At).Seconds()
	rate := func(name string) float64 { return (r.server[name] - r.serverA[name]) / seconds }
	slices.Sort(r.after.StartMillis)
	at := func(q float64) float64 {
		if len(r.after.StartMillis) == 0 {
			return 0
		}
		return r.after.StartMillis[min(len(r.after.StartMillis)-1, int(q*float64(len(r.after.StartMillis))))]
	}
	fmt.Fprintf(w, "; %.0f goroutines; %.1f MB/s allocated, %.2f collections/s; least sound ahead of a listener %.1f s; PLAY to first record %.1f ms in the median, %.1f at p99, %.1f at most.\n",
		r.server["go_goroutines"], rate("go_memstats_alloc_bytes_total")/1e6, rate("go_gc_duration_seconds_count"),
		r.after.Buffered, at(0.5), at(0.99), at(1))
	fmt.Fprintf(w, "Per second: %.1f records, %.1f%% of them opened; %.1f events of clients recorded, %.1f lines of what was served; %.1f fence checks, %.2f plays resolved, %.2f tickets renewed.\n",
		float64(r.after.Records-r.before.Records)/seconds, 100*float64(r.after.Opened-r.before.Opened)/max(1, float64(r.after.Records-r.before.Records)),
		rate(`segue_playback_client_events_total{outcome="recorded"}`), rate("segue_playback_served_lines_total"),
		rate("segue_playback_fence_checks_total"), rate("segue_playback_plays_total"), float64(r.after.Renewed-r.before.Renewed)/seconds)
	var texts []string
	for text := range r.after.Errors {
		texts = append(texts, text)
	}
	sort.Strings(texts)
	for _, text := range texts {
		fmt.Fprintf(w, "- %d × %s\n", r.after.Errors[text], text)
	}
}

// verdict fails when what was measured is no answer: sound stood still or clients met
// errors. That a goal is missed is for the reader to see.
func verdict(results []*result) (err error) {
	for _, r := range results {
		if n := r.after.Underruns - r.before.Underruns; n > 0 {
			err = errors.Join(err, fmt.Errorf("%s: %d underruns", r.name, n))
		}
		if n := failures(r.after); n > 0 {
			err = errors.Join(err, fmt.Errorf("%s: %d errors", r.name, n))
		}
	}
	return err
}
