package playback

import (
	"errors"
	"flag"
	"time"
)

// Config of the service.
type Config struct {
	// FreeMaxKbps and PremiumMaxKbps bound the quality of the plans.
	FreeMaxKbps, PremiumMaxKbps uint
	// TicketLife is how long a ticket is good for.
	TicketLife time.Duration
	// SessionIdle ends a session whose ticket was not renewed.
	SessionIdle time.Duration
	// MaxSessions of one listener; the ones idle longest are ended.
	MaxSessions int
	// Refresh is how old the state of a fence or a watcher may become when a
	// notification of another instance was lost.
	Refresh time.Duration
	// Silence ends a play whose client and edge say nothing, PausedSilence a paused one.
	Silence, PausedSilence time.Duration
	// Settle is how long the edges' reports are waited for after the end of a play.
	Settle time.Duration
	// Sweep is how often silent plays are looked for.
	Sweep time.Duration
	// Together is how long reports of plays wait for others to be committed with, when
	// one was committed less than that before.
	Together time.Duration
	// KeepPlays is how long plays and the ids of their events are kept.
	KeepPlays time.Duration
	// CachedTracks bounds the tracks and the content keys held in memory.
	CachedTracks int
}

// RegisterFlags declares the flags; the defaults stand here only.
func (c *Config) RegisterFlags(prefix string, fs *flag.FlagSet) {
	// One's own server holds nothing back until its operator says so.
	fs.UintVar(&c.FreeMaxKbps, prefix+"free-max-kbps", 320, "best quality of the plan free, in kbit/s")
	fs.UintVar(&c.PremiumMaxKbps, prefix+"premium-max-kbps", 320, "best quality of the plan premium, in kbit/s")
	fs.DurationVar(&c.TicketLife, prefix+"ticket-life", 10*time.Minute, "life of a ticket")
	fs.DurationVar(&c.SessionIdle, prefix+"session-idle", 24*time.Hour, "a session ends when its ticket was not renewed for this long")
	fs.IntVar(&c.MaxSessions, prefix+"max-sessions", 64, "sessions of one listener; those idle longest are ended")
	fs.DurationVar(&c.Refresh, prefix+"refresh", 5*time.Second, "how often fences and watchers read the player again in case a notification was lost")
	fs.DurationVar(&c.Silence, prefix+"silence", 10*time.Minute, "a play without a sign of life for this long has ended")
	fs.DurationVar(&c.PausedSilence, prefix+"paused-silence", 6*time.Hour, "the same for a play that is paused")
	fs.DurationVar(&c.Settle, prefix+"settle", 30*time.Second, "wait for the edges' reports after the end of a play")
	fs.DurationVar(&c.Sweep, prefix+"sweep", 5*time.Second, "how often silent plays are looked for")
	fs.DurationVar(&c.Together, prefix+"together", 250*time.Millisecond, "reports of plays that come faster than this are committed together; 0 is each for itself")
	fs.DurationVar(&c.KeepPlays, prefix+"keep-plays", 35*24*time.Hour, "how long plays and the ids of their events are kept")
	fs.IntVar(&c.CachedTracks, prefix+"cached-tracks", 100_000, "tracks and content keys held in memory")
}

// maxKbps of a plan. A plan that this program does not know gets the least.
func (c *Config) maxKbps(plan string) uint32 {
	if plan == "premium" {
		return uint32(c.PremiumMaxKbps)
	}
	return uint32(min(c.FreeMaxKbps, c.PremiumMaxKbps))
}

// Validate refuses values that cannot work together.
func (c *Config) Validate() error {
	switch {
	case c.FreeMaxKbps < 24 || c.PremiumMaxKbps < 24:
		return errors.New("a plan must include at least 24 kbit/s")
	case c.TicketLife < time.Minute || c.SessionIdle < c.TicketLife:
		return errors.New("ticket-life must be a minute or more and session-idle no shorter")
	case c.Refresh <= 0 || c.Sweep <= 0 || c.Silence <= 0 || c.PausedSilence <= 0 || c.Settle < 0 || c.Together < 0 || c.Together > 5*time.Second:
		return errors.New("together must be at most 5s and refresh, sweep, silence and paused-silence must be positive")
	case c.KeepPlays < c.PausedSilence+c.Settle:
		return errors.New("keep-plays must be longer than paused-silence")
	case c.MaxSessions < 1 || c.CachedTracks < 1:
		return errors.New("max-sessions and cached-tracks must be positive")
	}
	return nil
}
