package cassandra

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/segue-music/segue/event/outbox/cassandrabox"
	"github.com/segue-music/segue/services/playback"
)

// Play implements [playback.Store].
func (s *Store) Play(ctx context.Context, userID, playID string) (playback.Play, error) {
	p, _, err := s.play(ctx, userID, playID)
	if err != nil {
		return playback.Play{}, fmt.Errorf("read play: %w", err)
	}
	return p, nil
}

// play is Play with when the list of due plays has it.
func (s *Store) play(ctx context.Context, userID, playID string) (p playback.Play, dueAt int64, err error) {
	var state []byte
	p = playback.Play{UserID: userID, ID: playID}
	found, err := s.db.Get(ctx, `SELECT state, due_at FROM listener WHERE user_id = ? AND kind = 'play' AND id = ?`, []any{userID, playID}, &state, &dueAt)
	if err == nil && found {
		err = json.Unmarshal(state, &p)
	}
	return p, dueAt, err
}

// maxIDs bounds the rows that are looked for in one read.
const maxIDs = 100

// each reads columns of those rows of a listener that are of a kind and have one of ids.
func (s *Store) each(ctx context.Context, columns, userID, kind string, ids []string, dest []any, row func() (more bool, err error)) error {
	for part := range slices.Chunk(ids, maxIDs) {
		args := []any{userID, kind}
		for _, id := range part {
			args = append(args, id)
		}
		err := s.db.Each(ctx, `SELECT `+columns+` FROM listener WHERE user_id = ? AND kind = ? AND id IN (?`+
			strings.Repeat(", ?", len(part)-1)+`)`, args, dest, row)
		if err != nil {
			return err
		}
	}
	return nil
}

// SeenEvents implements [playback.Store].
func (s *Store) SeenEvents(ctx context.Context, userID string, ids []string) (map[string]bool, error) {
	seen := map[string]bool{}
	var id string
	err := s.each(ctx, "id", userID, "seen", ids, []any{&id}, func() (bool, error) {
		seen[id] = true
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up events: %w", err)
	}
	return seen, nil
}

// maxChanges bounds those of one batch, and so its size.
const maxChanges = 64

// CommitPlays implements [playback.Store]. The changes of one listener share batches; those
// of several listeners are made at once.
func (s *Store) CommitPlays(ctx context.Context, changes []playback.PlayChange) []error {
	out := make([]error, len(changes))
	of := map[string][]int{}
	var users []string
	for i, c := range changes {
		if of[c.Play.UserID] == nil {
			users = append(users, c.Play.UserID)
		}
		of[c.Play.UserID] = append(of[c.Play.UserID], i)
	}
	_ = eachAtOnce(len(users), func(u int) error { // the errors are in out
		for part := range slices.Chunk(of[users[u]], maxChanges) {
			s.commit(ctx, users[u], changes, part, out)
		}
		return nil
	})
	return out
}

// commit makes those changes of one listener whose numbers are in part.
func (s *Store) commit(ctx context.Context, userID string, changes []playback.PlayChange, part []int, out []error) {
	var answers []error
	err := s.write(ctx, "commit plays", userID, func(c *cassandrabox.Change) (err error) {
		b := playBatch{store: s, change: c, plays: map[string]*playRow{}}
		answers, err = b.take(ctx, changes, part)
		return err
	})
	for n, i := range part {
		out[i] = err
		if err == nil {
			out[i] = answers[n]
		}
	}
}

// playBatch is the plays of one listener on their way into one change.
type playBatch struct {
	store  *Store
	change *cassandrabox.Change
	plays  map[string]*playRow
	seen   map[string]bool
}

// playRow is a play as it will be, and when the list of due plays has it.
type playRow struct {
	play    playback.Play
	dueAt   int64
	changed bool
}

// take checks each change against what is kept and what those before it make of it. It
// answers per change: nil or ErrStale.
func (b *playBatch) take(ctx context.Context, changes []playback.PlayChange, part []int) ([]error, error) {
	user := b.change.Key
	if err := b.read(ctx, changes, part); err != nil {
		return nil, err
	}
	answers, fresh, now := make([]error, len(part)), false, b.store.db.Now().UnixMilli()
	for n, i := range part {
		c := changes[i]
		row := b.plays[c.Play.ID]
		if row.play.Revision+1 != c.Play.Revision || slices.ContainsFunc(c.Seen, func(id string) bool { return b.seen[id] }) {
			answers[n] = playback.ErrStale
			continue
		}
		row.play, row.changed, fresh = c.Play, true, true
		for _, id := range c.Seen {
			b.seen[id] = true
			b.change.Do(`INSERT INTO listener (user_id, kind, id, touched) VALUES (?, 'seen', ?, ?)`, user, id, now)
		}
		if err := b.store.add(ctx, b.change, c.Events); err != nil {
			return nil, err
		}
	}
	if !fresh {
		return answers, nil
	}
	return answers, b.put(ctx, now)
}

// read reads what is kept of the plays and of the ids of the changes.
func (b *playBatch) read(ctx context.Context, changes []playback.PlayChange, part []int) (err error) {
	user := b.change.Key
	var plays, seen []string
	for _, i := range part {
		seen = append(seen, changes[i].Seen...)
		if id := changes[i].Play.ID; b.plays[id] == nil {
			b.plays[id] = &playRow{play: playback.Play{UserID: user, ID: id}}
			plays = append(plays, id)
		}
	}
	var id string
	var state []byte
	var dueAt int64
	err = b.store.each(ctx, "id, state, due_at", user, "play", plays, []any{&id, &state, &dueAt}, func() (bool, error) {
		row := b.plays[id]
		row.dueAt = dueAt
		return true, json.Unmarshal(state, &row.play)
	})
	if err != nil {
		return err
	}
	b.seen, err = b.store.SeenEvents(ctx, user, seen)
	return err
}

// put writes each play once, as it is after its last change: of two writes of one row in
// one batch neither is the later.
func (b *playBatch) put(ctx context.Context, now int64) error {
	for id, row := range b.plays {
		if !row.changed {
			continue
		}
		state, err := json.Marshal(row.play)
		if err != nil {
			return err
		}
		b.store.listDue(b.change, row)
		b.change.Do(`INSERT INTO listener (user_id, kind, id, revision, touched, state, due_at) VALUES (?, 'play', ?, ?, ?, ?, ?)`,
			b.change.Key, id, int64(row.play.Revision), now, state, row.dueAt)
	}
	return b.store.list(ctx, b.change, b.store.plays, "plays_at", now)
}
