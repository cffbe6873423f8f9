package playback

import "github.com/maypok86/otter/v2"

// plays are those that this process changed last, as it left them: the next report of one
// needs no read. They are a guess, no truth: another instance may have changed them since,
// which the store finds out by the revision.
type plays struct {
	cache *otter.Cache[playKey, Play]
}

type playKey struct{ user, play string }

// playsMost bounds the memory, some hundred bytes each.
const playsMost = 1 << 14

func newPlays() (*plays, error) {
	cache, err := otter.New(&otter.Options[playKey, Play]{MaximumSize: playsMost})
	if err != nil {
		return nil, err
	}
	return &plays{cache}, nil
}

// get is the play of an edit, if it was changed here lately.
func (p *plays) get(e *edit) (Play, bool) {
	return p.cache.GetIfPresent(playKey{e.userID, e.playID})
}

func (p *plays) keep(c *Play) { p.cache.Set(playKey{c.UserID, c.ID}, *c) }

func (p *plays) forget(c *Play) { p.cache.Invalidate(playKey{c.UserID, c.ID}) }
