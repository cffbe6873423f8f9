package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"
)

// segmentSeconds is the length of a segment.
const segmentSeconds = 4

// adtsFrame is a frame of AAC at 44.1 kHz.
const adtsFrame = 1024 * time.Second / 44100

// soundUntil reads AAC in ADTS (ISO 13818-7) until there is sound for d.
func soundUntil(r *bufio.Reader, d time.Duration) error {
	for at := time.Duration(0); at < d; at += adtsFrame {
		h, err := r.Peek(7)
		if err != nil {
			return fmt.Errorf("read AAC: %w", err)
		}
		if h[0] != 0xff || h[1]&0xf0 != 0xf0 {
			return errors.New("read AAC: no frame")
		}
		n := int(h[3]&3)<<11 | int(h[4])<<3 | int(h[5])>>5
		if _, err := r.Discard(n); err != nil {
			return fmt.Errorf("read AAC: %w", err)
		}
	}
	return nil
}

// hlsTimes are when a segment gave sound from a position in it, and when it was there
// whole, which is what most players wait for.
type hlsTimes struct{ sound, whole time.Duration }

func segment(ctx context.Context, c carrier, begin time.Time, to string, inside time.Duration) (hlsTimes, error) {
	var t hlsTimes
	body, end, err := c.get(ctx, http.MethodGet, to, 0, 0)
	if err != nil {
		return t, err
	}
	defer end()
	r := bufio.NewReader(body)
	if err := soundUntil(r, inside+250*time.Millisecond); err != nil {
		return t, err
	}
	t.sound = time.Since(begin)
	if _, err := io.Copy(io.Discard, r); err != nil {
		return t, fmt.Errorf("read segment: %w", err)
	}
	t.whole = time.Since(begin)
	return t, nil
}

// entries are the lines of a playlist that are not about it, as URLs.
func entries(of, list string) []string {
	var out []string
	for l := range strings.Lines(list) {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
			scheme, rest, _ := strings.Cut(of, "://")
			out = append(out, scheme+"://"+path.Join(path.Dir(rest), l))
		}
	}
	return out
}

// playlist fetches the master playlist and the one it names.
func playlist(ctx context.Context, c carrier, master string) ([]string, error) {
	at := master
	for range 2 {
		b, err := c.whole(ctx, at)
		if err != nil {
			return nil, err
		}
		list := entries(at, string(b))
		if len(list) == 0 {
			return nil, fmt.Errorf("playlist %s is empty", at)
		}
		if !strings.HasSuffix(list[0], ".m3u8") {
			return list, nil
		}
		at = list[0]
	}
	return nil, errors.New("playlists lead nowhere")
}

// twice measures a start of HLS by both clocks.
func (p *peer) twice(ctx context.Context, name string, start func() (hlsTimes, func(), error)) ([]result, error) {
	whole := result{Name: name + ", whole segment"}
	r, err := p.measure(ctx, name, func() (time.Duration, func(), error) {
		t, end, err := start()
		whole.Millis = append(whole.Millis, float64(t.whole)/float64(time.Millisecond))
		return t.sound, end, err
	})
	whole.CPU = r.CPU
	return []result{r, whole}, err
}

func (p *peer) hls(ctx context.Context, name string, cold bool) ([]result, error) {
	c := p.over(h2, nil)
	if !cold {
		var err error
		if c, err = p.opened(ctx, h2, p.mediaURL("ping")); err != nil {
			return nil, err
		}
	}
	defer c.close()
	return p.twice(ctx, name, func() (hlsTimes, func(), error) {
		now, end := c, func() {}
		if cold {
			now = p.over(h2, nil)
			end = now.close
		}
		begin := time.Now()
		list, err := playlist(ctx, now, p.mediaURL(p.file("master.m3u8")))
		if err != nil {
			return hlsTimes{}, end, err
		}
		t, err := segment(ctx, now, begin, list[0], 0)
		return t, end, err
	})
}

// hlsSeek knows the playlist: one request for the segment that holds the position.
func (p *peer) hlsSeek(ctx context.Context, name string) ([]result, error) {
	c, err := p.opened(ctx, h2, p.mediaURL("ping"))
	if err != nil {
		return nil, err
	}
	defer c.close()
	return p.twice(ctx, name, func() (hlsTimes, func(), error) {
		list, err := playlist(ctx, c, p.mediaURL(p.file("master.m3u8")))
		if err != nil {
			return hlsTimes{}, nil, err
		}
		if err := p.silent(ctx); err != nil {
			return hlsTimes{}, nil, err
		}
		at := seekTarget(p.TrackSeconds)
		i := int(at.Seconds()) / segmentSeconds
		t, err := segment(ctx, c, time.Now(), list[min(i, len(list)-1)], min(at-time.Duration(i*segmentSeconds)*time.Second, 3500*time.Millisecond))
		return t, nil, err
	})
}
