package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/segue-music/segue/test/person"
)

// warmBytes is what a start on an open connection of HTTP/1.1 asks for: little enough to
// be read whole afterwards, which is what keeps the connection.
const warmBytes = 64 << 10

func measureHTTP(ctx context.Context, s *spec) ([]result, error) {
	config, err := person.Trusting(s.PeerCert)
	if err != nil {
		return nil, err
	}
	p := &peer{&meter{s, s.PeerPID}, config}
	var out []result
	for _, c := range p.cases(ctx) {
		if !p.wanted(c.name) {
			continue
		}
		r, err := c.run(c.name)
		if err != nil {
			return nil, err
		}
		out = append(out, r...)
	}
	return out, nil
}

type httpCase struct {
	name string
	run  func(name string) ([]result, error)
}

// one wraps a case that has one result.
func one(name string, run func(name string) (result, error)) httpCase {
	return httpCase{name, func(name string) ([]result, error) {
		r, err := run(name)
		return []result{r}, err
	}}
}

func (p *peer) cases(ctx context.Context) []httpCase {
	var all []httpCase
	for _, v := range []string{h1, h2, h3} {
		all = append(all, one(v+" progressive, cold", func(name string) (result, error) { return p.cold(ctx, name, v, "short.ogg") }))
	}
	all = append(all,
		one(h2+" progressive, cold, pages of 1 s", func(name string) (result, error) { return p.cold(ctx, name, h2, "plain.ogg") }),
		one(h2+" play API then media host, cold", func(name string) (result, error) { return p.api(ctx, name, true) }),
		httpCase{"HLS of 4 s segments, cold", func(name string) ([]result, error) { return p.hls(ctx, name, true) }},
		one(h3+" progressive, 0-RTT", func(name string) (result, error) { return p.early(ctx, name) }),
	)
	for _, v := range []string{h1, h2, h3} {
		all = append(all, one(v+" progressive, open connection", func(name string) (result, error) {
			return p.warm(ctx, name, v, "short.ogg", func() error { return nil })
		}))
	}
	return append(all,
		one(h2+" progressive, open connection, pages of 1 s", func(name string) (result, error) {
			return p.warm(ctx, name, h2, "plain.ogg", func() error { return nil })
		}),
		one(h2+" progressive, open connection, file not in the page cache", func(name string) (result, error) {
			return p.warm(ctx, name, h2, "short.ogg", func() error { return evict(p.Media) })
		}),
		one(h2+" play API then media host, open connections", func(name string) (result, error) { return p.api(ctx, name, false) }),
		httpCase{"HLS of 4 s segments, open connection", func(name string) ([]result, error) { return p.hls(ctx, name, false) }},
		one(h1+" seek during the download", func(name string) (result, error) { return p.seek(ctx, name, h1) }),
		one(h2+" seek during the download", func(name string) (result, error) { return p.seek(ctx, name, h2) }),
		httpCase{"HLS seek", func(name string) ([]result, error) { return p.hlsSeek(ctx, name) }},
	)
}

func (p *peer) cold(ctx context.Context, name, version, file string) (result, error) {
	return p.measure(ctx, name, func() (time.Duration, func(), error) {
		c := p.over(version, nil)
		d, end, err := c.start(ctx, http.MethodGet, p.mediaURL(p.file(file)), 0, 0)
		return d, func() { end(); c.close() }, err
	})
}

// early resumes HTTP/3 connections. The one before has to live until it was given a token.
func (p *peer) early(ctx context.Context, name string) (result, error) {
	keep := &resumed{tls.NewLRUClientSessionCache(8), quic.NewLRUTokenStore(8, 4)}
	fresh := func() (time.Duration, func(), error) {
		c := p.over(h3, keep)
		d, end, err := c.start(ctx, http3.MethodGet0RTT, p.mediaURL(p.file("short.ogg")), 0, 0)
		return d, func() { end(); _ = p.silent(ctx); c.close() }, err
	}
	_, end, err := fresh()
	if err != nil {
		return result{Name: name}, err
	}
	end()
	return p.measure(ctx, name, fresh)
}

// opened is a client with an open connection to the hosts.
func (p *peer) opened(ctx context.Context, version string, hosts ...string) (carrier, error) {
	c := p.over(version, nil)
	for _, h := range hosts {
		if _, err := c.whole(ctx, h); err != nil {
			return c, err
		}
	}
	return c, nil
}

// warm starts on an open connection; before is run before each start.
func (p *peer) warm(ctx context.Context, name, version, file string, before func() error) (result, error) {
	c, err := p.opened(ctx, version, p.mediaURL("ping"))
	if err != nil {
		return result{Name: name}, err
	}
	defer c.close()
	length := int64(0)
	if version == h1 {
		length = warmBytes
	}
	return p.measure(ctx, name, func() (time.Duration, func(), error) {
		if err := before(); err != nil {
			return 0, nil, err
		}
		return c.start(ctx, http.MethodGet, p.mediaURL(p.file(file)), 0, length)
	})
}

func (p *peer) api(ctx context.Context, name string, cold bool) (result, error) {
	c, err := p.opened(ctx, h2)
	if !cold {
		c, err = p.opened(ctx, h2, p.apiURL("ping"), p.mediaURL("ping"))
	}
	if err != nil {
		return result{Name: name}, err
	}
	defer c.close()
	return p.measure(ctx, name, func() (time.Duration, func(), error) {
		now := c
		if cold {
			now = p.over(h2, nil)
		}
		d, end, err := p.play(ctx, now, p.file("short.ogg"))
		return d, func() {
			end()
			if cold {
				now.close()
			}
		}, err
	})
}

// seek downloads a track as a player without bounds does, and wants another part of it
// before the end: the old answer is broken off, the new one asked for by its range.
func (p *peer) seek(ctx context.Context, name, version string) (result, error) {
	c, err := p.opened(ctx, version, p.mediaURL("ping"))
	if err != nil {
		return result{Name: name}, err
	}
	defer c.close()
	return p.measure(ctx, name, func() (time.Duration, func(), error) {
		path := p.file("short.ogg")
		offset, err := p.pageAt(path, seekTarget(p.TrackSeconds))
		if err != nil {
			return 0, nil, err
		}
		body, stop, err := c.get(ctx, http.MethodGet, p.mediaURL(path), 0, 0)
		if err != nil {
			return 0, nil, err
		}
		if err := firstPage(body); err != nil {
			stop()
			return 0, nil, err
		}
		read := make(chan error, 1)
		go func() { _, err := io.Copy(io.Discard, body); read <- err }()
		time.Sleep(seekAfter) // the listener listens
		select {
		case err := <-read:
			stop()
			return 0, nil, errors.Join(fmt.Errorf("the download ended before the seek: a lower -rate is needed"), err)
		default:
		}
		begin := time.Now()
		stop()
		_, end, err := c.start(ctx, http.MethodGet, p.mediaURL(path), offset, 0)
		return time.Since(begin), end, err
	})
}
