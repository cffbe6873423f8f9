package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/segue-music/segue/cmd/seguectl/internal/act"
	"github.com/segue-music/segue/cmd/seguectl/internal/api"
	"github.com/segue-music/segue/cmd/seguectl/internal/home"
	"github.com/segue-music/segue/cmd/seguectl/internal/pcm"
	"github.com/segue-music/segue/cmd/seguectl/internal/player"
	"github.com/segue-music/segue/cmd/seguectl/internal/show"
	"github.com/segue-music/segue/cmd/seguectl/internal/spool"
	collectv1 "github.com/segue-music/segue/gen/segue/collect/v1"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/wire"
)

type playCmd struct {
	Tracks  []string      `arg:"" name:"track-id" help:"Tracks, by their ids."`
	Quality string        `default:"auto" enum:"24,96,160,320,auto" help:"24, 96, 160 or 320 kbit/s, or auto: the best that there is and that your plan has."`
	From    time.Duration `placeholder:"1m30s" help:"Where to begin in the first track."`
	Sink    string        `default:"speaker" placeholder:"speaker|null|wav:FILE" help:"Where the sound goes."`
	Pace    string        `default:"realtime" enum:"realtime,fast" help:"realtime plays at the speed of sound, fast as quickly as it comes."`
	Stats   string        `enum:"json," default:"" placeholder:"json" help:"Print what was measured, as one JSON object."`
}

func (c *playCmd) Help() string {
	return `Sound is decoded by ffmpeg, which has to be installed. The speaker is reached by pw-cat, paplay or aplay.

--stats json prints {start_ms,transport,bytes,samples,gaps,tracks}. start_ms is from the call to the first decrypted
page; samples are counted per channel, at 44,100 a second; tracks has id, quality_kbps, samples, total_samples,
start_ms and network_ms of each. start_ms of a track whose beginning was there when its turn came is 0.`
}

// farewell bounds what is done after the last sound.
const farewell = 5 * time.Second

func (c *playCmd) Run(ctx context.Context, r *run) error {
	tracks, quality, err := c.read()
	if err != nil {
		return err
	}
	dir, a, err := r.api()
	if err != nil {
		return err
	}
	deviceID, err := device(ctx, dir)
	if err != nil {
		return err
	}
	line, err := c.line(ctx)
	if err != nil {
		return err
	}
	stats, err := c.play(ctx, r, a, dir, deviceID, line, tracks, quality)
	err = errors.Join(err, line.Close())
	if c.Stats == "json" && stats != nil {
		err = errors.Join(err, show.JSON(r.Out, stats))
	}
	return err
}

// read checks what was typed before anything is begun.
func (c *playCmd) read() ([]id.ID, wire.Quality, error) {
	var tracks []id.ID
	for _, t := range c.Tracks {
		parsed, err := id.Parse(strings.TrimPrefix(t, "segue:track:"))
		if err != nil {
			return nil, 0, fmt.Errorf("track %q: %w", t, err)
		}
		tracks = append(tracks, parsed)
	}
	if c.From < 0 {
		return nil, 0, errors.New("--from is before the beginning")
	}
	quality := map[string]wire.Quality{
		"auto": wire.Auto, "24": wire.Kbps24, "96": wire.Kbps96, "160": wire.Kbps160, "320": wire.Kbps320,
	}[c.Quality]
	return tracks, quality, nil
}

func device(ctx context.Context, dir *home.Dir) (string, error) {
	unlock, err := dir.Lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	return dir.DeviceID()
}

// line opens the sink.
func (c *playCmd) line(ctx context.Context) (*pcm.Line, error) {
	pace := pcm.Realtime
	if c.Pace == "fast" {
		pace = pcm.Fast
	}
	kind, name, _ := strings.Cut(c.Sink, ":")
	switch {
	case c.Sink == "null":
		return pcm.NewLine(pcm.Null{}, pace), nil
	case kind == "wav" && name != "":
		w, err := pcm.CreateWav(name)
		if err != nil {
			return nil, err
		}
		return pcm.NewLine(w, pace), nil
	case c.Sink == "speaker" && pace == pcm.Fast:
		return nil, errors.New("a speaker plays at the speed of sound only: leave out --pace fast")
	case c.Sink == "speaker":
		s, err := pcm.OpenSpeaker(ctx)
		if err != nil {
			return nil, err
		}
		return pcm.NewLine(s, pcm.Device), nil
	}
	return nil, fmt.Errorf("--sink %q is none of speaker, null and wav:FILE", c.Sink)
}

func (c *playCmd) play(ctx context.Context, r *run, a *api.API, dir *home.Dir, deviceID string, line *pcm.Line, tracks []id.ID, quality wire.Quality) (*player.Stats, error) {
	// First the device, then the session: the ticket then says that it is the active one.
	remote, err := player.Activate(ctx, a.Player(), deviceID, tracks, c.From, quality.Kbps(), r.log)
	if err != nil {
		return nil, err
	}
	shown := newNowPlaying(ctx, r, a, tracks)
	index, position := 0, c.From
	// The farewells are said also after ctrl-C.
	after := context.WithoutCancel(ctx)
	defer func() {
		ctx, cancel := context.WithTimeout(after, farewell)
		defer cancel()
		remote.Stop(ctx, index, position)
	}()
	server := player.Server{Base: a.Base(), Sessions: a.Sessions(), HTTP: a.Plain()}
	session, sessionID, err := player.OpenSession(ctx, server, player.Device{ID: deviceID, Name: deviceName(), Client: r.agent()}, rand.Reader, r.log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := session.Close(); err != nil {
			r.log.Debug("close session", "err", err)
		}
	}()
	sp, recovered, err := c.spool(ctx, r, a, dir, deviceID, sessionID)
	if err != nil {
		return nil, err
	}
	p := &player.Player{
		Session: session, Line: line, Fast: c.Pace == "fast", Quality: quality, First: act.ID(ctx), Random: rand.Reader, Now: time.Now, Log: r.log,
		Report: func(e player.Event) { sp.Add(clientEvent(e)) },
		Progress: func(at player.Progress) {
			if at.Index != index {
				remote.At(at.Index, at.Position, true)
			}
			index, position = at.Index, at.Position
			shown.at(at)
		},
		Failed: func(err error) { r.note("seguectl: %s", explain(err)) },
	}
	playing, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go remote.Watch(playing, func() { stop(player.ErrElsewhere) })
	stats, err := p.Play(playing, tracks, c.From)
	shown.close()
	end, cancel := context.WithTimeout(after, farewell)
	defer cancel()
	if left, spoolErr := sp.Close(end); spoolErr != nil {
		r.log.Warn("events are delivered by the next run", "events", left, "err", spoolErr)
	}
	select {
	case <-recovered:
	case <-end.Done():
	}
	if err != nil {
		err = errSilent // Failed has told
	}
	return &stats, err
}

// spool opens this run's event spool, and begins to deliver what earlier runs left.
// recovered is closed when that is done.
func (c *playCmd) spool(ctx context.Context, r *run, a *api.API, dir *home.Dir, deviceID, sessionID string) (sp *spool.Spool, recovered chan struct{}, err error) {
	folder, err := dir.Sub("events", spool.Folder(a.Base().String(), a.User()))
	if err != nil {
		return nil, nil, err
	}
	// It delivers also after ctrl-C, until it is closed
	if sp, err = spool.Open(folder, deviceID, sessionID, a.Collect(), r.log); err != nil {
		return nil, nil, err
	}
	recovered = make(chan struct{})
	go func() {
		defer close(recovered)
		if err := spool.Recover(ctx, folder, a.Collect(), r.log); err != nil {
			r.log.Debug("events of an earlier run wait further", "err", err)
		}
	}()
	return sp, recovered, nil
}

func deviceName() string {
	const most = 64 // characters that the server takes
	host, err := os.Hostname()
	if err != nil || host == "" {
		return "seguectl"
	}
	name := []rune(show.Clean("seguectl on " + host))
	return string(name[:min(len(name), most)])
}

// clientEvent gives an event its id and the time on this device.
func clientEvent(e player.Event) *collectv1.ClientEvent {
	now := time.Now()
	out := &collectv1.ClientEvent{Id: id.New(now, rand.Reader).String(), ClientUnixMs: now.UnixMilli()}
	switch {
	case e.Started != nil:
		out.Payload = &collectv1.ClientEvent_Started{Started: e.Started}
	case e.Seeked != nil:
		out.Payload = &collectv1.ClientEvent_Seeked{Seeked: e.Seeked}
	case e.Progress != nil:
		out.Payload = &collectv1.ClientEvent_Progress{Progress: e.Progress}
	case e.Ended != nil:
		out.Payload = &collectv1.ClientEvent_Ended{Ended: e.Ended}
	case e.Error != nil:
		out.Payload = &collectv1.ClientEvent_Error{Error: e.Error}
	}
	return out
}
