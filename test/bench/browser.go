package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Cases of the browser. Its figures are the player's own: from the click to the first
// samples in the ring from which the sound card is fed.
const (
	caseWebOpen = "click, session open"
	caseWebNew  = "click, WebTransport session opened anew"
	caseWebHead = "click after hovering (head prefetched)"
	caseWebSeek = "seek while playing, browser"
	caseWebNext = "click on next (head prefetched)"
	// A script of choices, the same in every run.
	caseWebScript = "scripted choices, browser"
	caseWebHits   = "scripted choices that found their head"
)

//go:embed browser.mjs
var browserScript []byte

// browserThere reports whether there is all that the browser's cases need.
func browserThere(web string) bool {
	for _, program := range []string{"node", "chromium"} {
		if _, err := exec.LookPath(program); err != nil {
			say("no %s: the browser is left out", program)
			return false
		}
	}
	if _, err := os.Stat(filepath.Join(web, "node_modules", "playwright-core")); err != nil {
		say("no playwright-core in %s/node_modules: the browser is left out", web)
		return false
	}
	return true
}

// browse measures the web player in Chromium in the client's namespace.
func (w *world) browse(ctx context.Context) ([]result, error) {
	script := w.file("browser.mjs")
	if err := os.WriteFile(script, browserScript, 0o600); err != nil {
		return nil, fmt.Errorf("write script: %w", err)
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		return nil, fmt.Errorf("find chromium: %w", err)
	}
	told, err := json.Marshal(map[string]any{
		"url": w.spec.Segue, "password": w.spec.Password, "n": w.spec.N, "album": w.spec.Tracks[0].Album, "chromium": chromium, "web": w.spec.Web,
		"open": caseWebOpen, "new": caseWebNew, "head": caseWebHead, "seek": caseWebSeek,
		"next": caseWebNext, "scripted": caseWebScript, "scriptedHit": caseWebHits, "choices": w.o.choices, "cases": w.spec.Cases, "only": w.spec.Only,
	})
	if err != nil {
		return nil, fmt.Errorf("encode spec: %w", err)
	}
	cmd := w.link.in(ctx, w.link.client, "node", script, string(told))
	cmd.Env = append(os.Environ(), "TMPDIR="+w.dir, "HOME="+w.dir)
	var found []struct {
		Name   string    `json:"name"`
		Millis []float64 `json:"millis"`
		Note   string    `json:"note"`
		Failed string    `json:"failed"`
	}
	if err := output(cmd, &found); err != nil {
		return nil, err
	}
	var out []result
	for _, f := range found {
		if f.Failed != "" {
			err = errors.Join(err, errors.New(f.Failed))
		}
		// What the server used would be that of whole seconds of playing.
		out = append(out, result{Name: f.Name, Millis: f.Millis, Note: f.Note})
	}
	return out, err
}
