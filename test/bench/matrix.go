package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// links are what the cases are measured on.
func (o *options) links() []shape {
	if !o.matrix {
		return []shape{o.shape}
	}
	var all []shape
	for _, loss := range []float64{0, 0.01} {
		for _, rtt := range []time.Duration{20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond} {
			all = append(all, shape{rtt: rtt, queue: o.shape.queue, rate: fullRate, loss: loss})
		}
	}
	return append(all, shape{rtt: 60 * time.Millisecond, queue: o.shape.queue, rate: 2})
}

// matrixCases are the cases that are measured on every link.
func matrixCases() []string {
	return []string{
		caseRTT, caseCold, caseEarly, caseOpen, caseSeek, casePrefetch, caseWebOpen, caseWebNew, caseWebSeek,
		h1 + " progressive, cold", h2 + " progressive, cold", h3 + " progressive, cold", h3 + " progressive, 0-RTT",
		h2 + " play API then media host, cold", "HLS of 4 s segments, cold",
		h1 + " progressive, open connection", h2 + " progressive, open connection", h3 + " progressive, open connection",
		h2 + " play API then media host, open connections", "HLS of 4 s segments, open connection",
		h1 + " seek during the download", h2 + " seek during the download", "HLS seek",
	}
}

// reportMatrix writes a row per case and a column per link.
func reportMatrix(w io.Writer, o *options, before, after string, all []result) {
	fmt.Fprintf(w, "Measured %s: %d Mbit/s each way where nothing else is said, queue %s; n = %d per case and link, %d tracks of %d s among %d, 160 kbit/s. p50/p95 in ms.\n\n",
		time.Now().Format("2006-01-02 15:04"), fullRate, o.shape.queue, o.n, o.tracks, trackSeconds, o.catalogue)
	fmt.Fprintf(w, "Machine: %s. At the start: %s. At the end: %s.\n\n", facts(), before, after)
	type row struct{ phase, name string }
	var links []string
	var rows []row
	cell := map[row]map[string]string{}
	for _, r := range all {
		k := row{r.Phase, r.Name}
		if cell[k] == nil {
			cell[k] = map[string]string{}
			rows = append(rows, k)
		}
		if !slices.Contains(links, r.Link) {
			links = append(links, r.Link)
		}
		cell[k][r.Link] = ms(r.at(0.5)) + "/" + ms(r.at(0.95))
	}
	fmt.Fprintf(w, "| where | case | %s |\n|---|---|%s\n", strings.Join(links, " | "), strings.Repeat("--:|", len(links)))
	for _, k := range rows {
		fmt.Fprintf(w, "| %s | %s |", k.phase, k.name)
		for _, l := range links {
			fmt.Fprintf(w, " %s |", cell[k][l])
		}
		fmt.Fprintln(w)
	}
}
