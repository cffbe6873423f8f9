package playback

import "context"

// What instances tell each other of a listener.
const (
	toldChanged = "changed" // the player or the sessions
	toldGone    = "gone"    // the account
)

// told takes in what another instance tells, or that something may have been missed.
func (s *Service) told(userID, text string) {
	s.fences.update(userID, func(e *fence) { e.loaded = false }) // read again at the next fence
	if text == toldGone {
		s.watchers.end(userID)
		return
	}
	s.watchers.notify(userID)
}

// alone are the notices of the only instance.
type alone struct{}

func (alone) Tell(string, string) {}
func (alone) Follow(string)       {}
func (alone) Unfollow(string)     {}

func (alone) Run(ctx context.Context, _ func(userID, text string)) error {
	<-ctx.Done()
	return nil
}
