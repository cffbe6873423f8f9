package spool

import (
	"log/slog"
	"testing"
)

// FuzzDecode reads a spool file that a crash or a disk has torn.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"deviceId":"d","sessionId":"s","events":[{"id":"1"}]}` + "\n" + `{"deviceId":"d","sessionId":"s","events":[{"id":"2"}]}` + "\n" + `{"dev`))
	f.Add([]byte("\n\n\x00"))
	log := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, req := range decode(b, log) {
			if n := len(req.GetEvents()); n == 0 {
				t.Fatal("a request without events")
			}
		}
	})
}
