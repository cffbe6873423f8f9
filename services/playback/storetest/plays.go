package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/services/playback"
)

func contentKey(n int) playback.ContentKey {
	return playback.ContentKey{
		ObjectID: fmt.Sprintf("%032x", n), TrackID: key("track"), Kbps: 160, KID: uint64(n), SealID: [16]byte{byte(n), 1},
		MasterID: 3, Wrapped: []byte{1, 2, byte(n)}, Added: at(n),
	}
}

func keysOnce(ctx context.Context, s Store) error {
	want, other := contentKey(1), contentKey(1)
	other.Wrapped = []byte("another")
	err := s.AddKey(ctx, want)
	again := s.AddKey(ctx, other)
	got, err2 := s.ContentKey(ctx, want.ObjectID)
	_, unknown := s.ContentKey(ctx, contentKey(2).ObjectID)
	return errors.Join(err, err2, is("second key of an object", again, playback.ErrTaken), equal("key", want, got),
		is("unknown object", unknown, playback.ErrAbsent))
}

func keysNewest(ctx context.Context, s Store) error {
	for n := 1; n <= 4; n++ {
		k := contentKey(n)
		k.Added = at(9 - n) // a clock that goes back does not change what was added last
		if n == 4 {
			k.Kbps = 320
		}
		if err := s.AddKey(ctx, k); err != nil {
			return err
		}
	}
	got, err := s.NewestKey(ctx, key("track"), 160)
	_, unknown := s.NewestKey(ctx, key("track"), 24)
	return errors.Join(err, equal("newest object", contentKey(3).ObjectID, got.ObjectID), is("no key", unknown, playback.ErrAbsent))
}

func play(n int, revision uint64) playback.Play {
	return playback.Play{
		UserID: key("user"), ID: key("play", n), TrackID: key("track"), SessionID: key("session"), DeviceID: key("device"),
		Revision: revision, Phase: playback.PhasePlaying, Begun: true, ClaimedMS: revision * 10, ServedMS: 7, ServedBytes: 8, TrackMS: 9,
		Started: at(1), Last: at(int(revision)), ReasonStart: "click", ContextURI: "segue:album:x", QualityKbps: 160, Market: "SE",
	}
}

func playsRoundTrip(ctx context.Context, s Store) error {
	none, err := s.Play(ctx, key("user"), key("play", 1))
	if err := errors.Join(err, equal("a new play", playback.Play{UserID: key("user"), ID: key("play", 1)}, none)); err != nil {
		return err
	}
	for rev := uint64(1); rev <= 3; rev++ {
		ids := []string{fmt.Sprint("a", rev), fmt.Sprint("b", rev)}
		if err := errors.Join(s.CommitPlays(ctx, []playback.PlayChange{{Play: play(1, rev), Seen: ids}})...); err != nil {
			return err
		}
		got, err := s.Play(ctx, key("user"), key("play", 1))
		seen, err2 := s.SeenEvents(ctx, key("user"), append(ids, "never"))
		if err := errors.Join(err, err2, equal("play", play(1, rev), got), equal("seen", map[string]bool{ids[0]: true, ids[1]: true}, seen)); err != nil {
			return err
		}
	}
	others, err := s.SeenEvents(ctx, key("someone else"), []string{"a1"})
	return errors.Join(err, equal("seen by another listener", map[string]bool{}, others))
}

// playsEach: every change stands or falls by itself, and as a whole.
func playsEach(ctx context.Context, s Store) error {
	if err := errors.Join(s.CommitPlays(ctx, []playback.PlayChange{{Play: play(1, 1), Seen: []string{"a"}}})...); err != nil {
		return err
	}
	errs := s.CommitPlays(ctx, []playback.PlayChange{
		{Play: play(1, 1), Seen: []string{"b"}},      // stale revision
		{Play: play(2, 1), Seen: []string{"c", "a"}}, // seen with another play
		{Play: play(3, 1), Seen: []string{"d"}},
		{Play: play(4, 1), Seen: []string{"d"}}, // seen just before
		{Play: play(5, 2)},                      // no such play
	})
	if len(errs) != 5 {
		return fmt.Errorf("%d answers for 5 changes", len(errs))
	}
	want := []error{playback.ErrStale, playback.ErrStale, nil, playback.ErrStale, playback.ErrStale}
	for i, err := range errs {
		if err := is(fmt.Sprintf("change %d", i), err, want[i]); err != nil {
			return err
		}
	}
	seen, err := s.SeenEvents(ctx, key("user"), []string{"a", "b", "c", "d"})
	if err := errors.Join(err, equal("seen", map[string]bool{"a": true, "d": true}, seen)); err != nil {
		return err
	}
	for n, rev := range map[int]uint64{1: 1, 2: 0, 3: 1, 4: 0, 5: 0} {
		p, err := s.Play(ctx, key("user"), key("play", n))
		if err := errors.Join(err, equal(fmt.Sprintf("revision of play %d", n), rev, p.Revision)); err != nil {
			return err
		}
	}
	return nil
}

// playsOrder: two changes of one play in one call follow each other.
func playsOrder(ctx context.Context, s Store) error {
	var list []playback.PlayChange
	for rev := uint64(1); rev <= 600; rev++ { // more than an engine may put into one transaction
		list = append(list, playback.PlayChange{Play: play(1, rev), Seen: []string{fmt.Sprint(rev)}})
	}
	if err := errors.Join(s.CommitPlays(ctx, list)...); err != nil {
		return err
	}
	got, err := s.Play(ctx, key("user"), key("play", 1))
	return errors.Join(err, equal("play", play(1, 600), got))
}

func playsDue(ctx context.Context, s Store) error {
	var list []playback.PlayChange
	for n, due := range []time.Time{at(5), {}, at(3), at(9), at(4)} {
		p := play(n, 1)
		p.Due = due
		list = append(list, playback.PlayChange{Play: p})
	}
	if err := errors.Join(s.CommitPlays(ctx, list)...); err != nil {
		return err
	}
	due := func(now time.Time, limit int) (ids []string, err error) {
		plays, err := s.DuePlays(ctx, now, limit)
		for _, p := range plays {
			ids = append(ids, p.ID)
		}
		return ids, err
	}
	early, err1 := due(at(2), 9)
	some, err2 := due(at(5), 9)
	two, err3 := due(at(5), 2)
	settled := play(2, 2)
	err4 := errors.Join(s.CommitPlays(ctx, []playback.PlayChange{{Play: settled}})...)
	rest, err5 := due(at(5), 9)
	return errors.Join(err1, err2, err3, err4, err5, equal("due early", 0, len(early)),
		equal("due", []string{key("play", 2), key("play", 4), key("play", 0)}, some),
		equal("due, limited", []string{key("play", 2), key("play", 4)}, two),
		equal("due after one was settled", []string{key("play", 4), key("play", 0)}, rest))
}

func track(revision uint64) playback.Track {
	return playback.Track{
		ID: key("track"), Revision: revision, OwnerID: key("owner"), State: metadatav1.TrackState_TRACK_STATE_PLAYABLE, DurationMS: 1000 * revision,
		Markets: []string{"DE"}, Excluded: []string{"US"}, ReleaseDate: "2020", Explicit: true, GainTrackQ8: -5, GainAlbumQ8: 6, PeakQ8: -7,
		Renditions: []playback.Rendition{{Kbps: 96, ObjectID: "a"}, {Kbps: 160, ObjectID: "b"}},
	}
}

func tracksNewest(ctx context.Context, s Store) error {
	_, unknown := s.Track(ctx, key("track"))
	if err := is("unknown track", unknown, playback.ErrAbsent); err != nil {
		return err
	}
	same := track(5)
	same.Withdrawn = true
	removed := playback.Track{ID: key("track"), Revision: 7, Removed: true}
	for i, c := range []struct{ put, want playback.Track }{
		{track(3), track(3)}, {track(5), track(5)}, {track(4), track(5)}, {same, same}, {removed, removed}, {track(6), removed},
	} {
		if err := s.PutTrack(ctx, c.put); err != nil {
			return err
		}
		got, err := s.Track(ctx, key("track"))
		if err := errors.Join(err, equal(fmt.Sprintf("after state %d", i), c.want, got)); err != nil {
			return err
		}
	}
	return nil
}

func prune(ctx context.Context, s Store) error {
	err := errors.Join(
		s.PutSession(ctx, session(1), 9), s.PutSession(ctx, session(5), 9),
		errors.Join(s.CommitPlays(ctx, []playback.PlayChange{{Play: play(1, 1), Seen: []string{"a"}}})...),
		s.Prune(ctx, at(3), time.Unix(0, 0)),
	)
	if err != nil {
		return err
	}
	_, gone := s.Session(ctx, key("user"), key("session", 1))
	_, kept := s.Session(ctx, key("user"), key("session", 5))
	p, err1 := s.Play(ctx, key("user"), key("play", 1))
	err2 := s.Prune(ctx, at(3), time.Now().Add(1000*time.Hour))
	q, err3 := s.Play(ctx, key("user"), key("play", 1))
	seen, err4 := s.SeenEvents(ctx, key("user"), []string{"a"})
	return errors.Join(err1, err2, err3, err4, kept, is("idle session", gone, playback.ErrAbsent), equal("recent play", uint64(1), p.Revision),
		equal("old play", uint64(0), q.Revision), equal("old events", map[string]bool{}, seen))
}
