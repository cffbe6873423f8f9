package config_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/config"
)

func load(t *testing.T, file string, env, args []string) (*flag.FlagSet, error) {
	t.Helper()
	fs := flag.NewFlagSet("segue", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Duration("playback.ticket-life", 10*time.Minute, "")
	fs.Int("playback.streams", 3, "")
	fs.String("data", "./data", "")
	if file != "" {
		path := filepath.Join(t.TempDir(), "segue.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-config.file="+path)
	}
	return fs, config.Load(fs, args, env)
}

func TestLoad_Order(t *testing.T) {
	fs, err := load(t, "playback: {ticket-life: 1m, streams: 1}\ndata: /file", []string{"SEGUE_PLAYBACK_STREAMS=2", "SEGUE_DATA=/env", "PATH=/bin"}, []string{"-data=/flag"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"playback.ticket-life": "1m0s", "playback.streams": "2", "data": "/flag"} {
		if got := fs.Lookup(name).Value.String(); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	var b bytes.Buffer
	if err := config.Print(&b, fs); err != nil {
		t.Fatal(err)
	}
	again, err := load(t, b.String(), nil, nil)
	if err != nil || again.Lookup("playback.streams").Value.String() != "2" {
		t.Errorf("what was printed reads back with %v:\n%s", err, b.String())
	}
}

func TestLoad_Refuses(t *testing.T) {
	for name, c := range map[string]struct {
		file      string
		env, args []string
		unknown   bool
	}{
		"misspelt_key":      {file: "playback: {ticket-live: 1m}", unknown: true},
		"misspelt_group":    {file: "playbak: {streams: 1}", unknown: true},
		"misspelt_variable": {env: []string{"SEGUE_PLAYBACK_STREAM=1"}, unknown: true},
		"argument":          {args: []string{"serve"}, unknown: true},
		"bad_value":         {file: "playback: {streams: many}"},
		"bad_variable":      {env: []string{"SEGUE_PLAYBACK_STREAMS=many"}},
		"no_value":          {file: "data:"},
		"no_yaml":           {file: "\t{"},
		"list_at_top":       {file: "[1, 2]"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, c.file, c.env, c.args)
			if err == nil || errors.Is(err, config.ErrUnknown) != c.unknown {
				t.Errorf("answer %v", err)
			}
		})
	}
}
