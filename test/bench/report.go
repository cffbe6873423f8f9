package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/segue-music/segue/test/proc"
)

// goals are what the figures have to reach, in ms, at 50 ms and 20 Mbit/s without loss.
func goals() map[string]float64 {
	return map[string]float64{
		caseCold: 125, caseEarly: 65, caseOpen: 60, caseSeek: 60, casePrefetch: 0,
		caseWebOpen: 75, caseWebNew: 190, caseWebNext: 20, caseWebHits: 20,
	}
}

// peersOf names for each case of Segue the peers it is set against.
func peersOf() map[string][]string {
	return map[string][]string{
		caseCold:     {h2 + " progressive, cold", h2 + " play API then media host, cold", "HLS of 4 s segments, cold"},
		caseEarly:    {h2 + " progressive, cold", h3 + " progressive, 0-RTT"},
		caseOpen:     {h2 + " progressive, open connection", h2 + " play API then media host, open connections", "HLS of 4 s segments, open connection"},
		caseOpenDisk: {h2 + " progressive, open connection, file not in the page cache"},
		caseSeek:     {h1 + " seek during the download", h2 + " seek during the download", "HLS seek"},
	}
}

// quantile of sorted numbers, by the nearest rank.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	return sorted[min(max(int(math.Ceil(q*float64(len(sorted))))-1, 0), len(sorted)-1)]
}

func (r *result) at(q float64) float64 { return quantile(slices.Sorted(slices.Values(r.Millis)), q) }

func report(w io.Writer, o *options, before, after string, all []result) {
	fmt.Fprintf(w, "Measured %s: RTT %s, %g Mbit/s each way, loss %g, queue %s; n = %d per case, tracks of %d s at 160 kbit/s, a random one each time: of %d in a catalogue of %d (peers and browser: of %d).\n\n",
		time.Now().Format("2006-01-02 15:04"), o.shape.rtt, o.shape.rate, o.shape.loss, o.shape.queue, o.n, trackSeconds, min(withSound, o.catalogue), o.catalogue, o.tracks)
	fmt.Fprintf(w, "Machine: %s. At the start: %s. At the end: %s.\n\n", facts(), before, after)
	fmt.Fprintln(w, "| where | case | goal ms | p50 ms | p95 ms | | server CPU ms per start | |")
	fmt.Fprintln(w, "|---|---|--:|--:|--:|---|--:|---|")
	goal := goals()
	for _, r := range all {
		want, verdict := "", ""
		if g, ok := goal[r.Name]; ok && o.shape.rtt == 50*time.Millisecond && o.shape.rate == fullRate && o.shape.loss == 0 {
			want, verdict = fmt.Sprintf("%g", g), "met"
			// Without the network a start takes what decrypted pages take to be handed over.
			if r.at(0.5) > max(g, 1) {
				verdict = "**missed**"
			}
		}
		used := ""
		if r.CPU > 0 {
			used = fmt.Sprintf("%.1f", r.CPU*1000)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", r.Phase, r.Name, want, ms(r.at(0.5)), ms(r.at(0.95)), verdict, used, r.Note)
	}
	ratios(w, all)
}

// ratios sets Segue against its peers, with the kernel's first window and a larger one.
func ratios(w io.Writer, all []result) {
	var lines []string
	peers := peersOf()
	for _, r := range all {
		for _, name := range peers[r.Name] {
			for _, p := range all {
				if p.Name != name {
					continue
				}
				tuned := ""
				if strings.Contains(p.Phase, "initcwnd") {
					tuned = " (initcwnd 40)"
				}
				lines = append(lines, fmt.Sprintf("| %s | %s%s | %s | %s | %.1f |", r.Name, p.Name, tuned, ms(r.at(0.5)), ms(p.at(0.5)), p.at(0.5)/r.at(0.5)))
			}
		}
	}
	if len(lines) > 0 {
		fmt.Fprintf(w, "\n| Segue | against | Segue p50 ms | peer p50 ms | times |\n|---|---|--:|--:|--:|\n%s\n", strings.Join(lines, "\n"))
	}
}

func ms(v float64) string {
	if v < 1 {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// facts of the machine that decide about the figures.
func facts() string {
	return fmt.Sprintf("%d CPUs (%s), Linux %s, %s, TCP %s, %s",
		runtime.NumCPU(), proc.Model(), line("/proc/sys/kernel/osrelease"), runtime.Version(),
		line("/proc/sys/net/ipv4/tcp_congestion_control"), version())
}

func version() string {
	out, err := exec.Command("ffmpeg", "-version").Output()
	if f := strings.Fields(string(out)); err == nil && len(f) > 2 {
		return "ffmpeg " + f[2]
	}
	return "ffmpeg unknown"
}

func line(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}
