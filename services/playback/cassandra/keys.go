package cassandra

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/segue-music/segue/internal/cassandradb"
	"github.com/segue-music/segue/services/playback"
)

// AddKey implements [playback.Store]. The key takes its place in the order of its rendition
// first: there it is nobody's until the object has it too.
func (s *Store) AddKey(ctx context.Context, k playback.ContentKey) error {
	switch _, _, err := s.contentKey(ctx, k.ObjectID); {
	case err == nil:
		return fmt.Errorf("add key: %w", playback.ErrTaken)
	case !isAbsent(err):
		return fmt.Errorf("add key: %w", err)
	}
	token := uuid.NewString()
	seq, err := s.enqueueKey(ctx, k, token)
	if err != nil {
		return fmt.Errorf("add key: %w", err)
	}
	list := []cassandradb.Statement{{
		CQL: `INSERT INTO content_key (object_id, track_id, kbps, kid, seal_id, master_id, wrapped, added, writer)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS`,
		Args: []any{k.ObjectID, k.TrackID, int32(k.Kbps), int64(k.KID), k.SealID[:], int64(k.MasterID), k.Wrapped, k.Added.UnixMilli(), token},
	}}
	added, err := s.db.Decide(ctx, list, tokenVerdict(s.db, token, `SELECT writer FROM content_key WHERE object_id = ?`, k.ObjectID))
	if err != nil {
		return fmt.Errorf("add key: %w", err)
	}
	if added {
		return nil
	}
	s.dequeueKey(ctx, k, seq, token)
	return fmt.Errorf("add key: %w", playback.ErrTaken)
}

// enqueueKey takes the next place in the order of a rendition's keys.
func (s *Store) enqueueKey(ctx context.Context, k playback.ContentKey, token string) (seq int64, err error) {
	for {
		if _, err := s.db.Get(ctx, `SELECT seq FROM track_key WHERE track_id = ? AND kbps = ? LIMIT 1`, []any{k.TrackID, int32(k.Kbps)}, &seq); err != nil {
			return 0, err
		}
		seq++
		list := []cassandradb.Statement{{
			CQL:  `INSERT INTO track_key (track_id, kbps, seq, object_id, writer) VALUES (?, ?, ?, ?, ?) IF NOT EXISTS`,
			Args: []any{k.TrackID, int32(k.Kbps), seq, k.ObjectID, token},
		}}
		got, err := s.db.Decide(ctx, list, tokenVerdict(s.db, token,
			`SELECT writer FROM track_key WHERE track_id = ? AND kbps = ? AND seq = ?`, k.TrackID, int32(k.Kbps), seq))
		if err != nil || got {
			return seq, err
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
	}
}

// dequeueKey gives back the place of a key that the object did not get. It may fail: the
// place is of nobody's key.
func (s *Store) dequeueKey(ctx context.Context, k playback.ContentKey, seq int64, token string) {
	list := []cassandradb.Statement{{
		CQL:  `DELETE FROM track_key WHERE track_id = ? AND kbps = ? AND seq = ? IF writer = ?`,
		Args: []any{k.TrackID, int32(k.Kbps), seq, token},
	}}
	_, _ = s.db.Decide(ctx, list, func(context.Context) (cassandradb.Verdict, error) { return cassandradb.Refused, nil })
}

// tokenVerdict tells whether a row that is written once was written by whom token names.
func tokenVerdict(db *cassandradb.DB, token, cql string, key ...any) func(context.Context) (cassandradb.Verdict, error) {
	return func(ctx context.Context) (cassandradb.Verdict, error) {
		var kept string
		found, err := db.GetSerial(ctx, cql, key, &kept)
		switch {
		case err != nil || !found:
			return cassandradb.Undecided, err
		case kept == token:
			return cassandradb.Applied, nil
		}
		return cassandradb.Refused, nil
	}
}

// ContentKey implements [playback.Store].
func (s *Store) ContentKey(ctx context.Context, objectID string) (playback.ContentKey, error) {
	k, _, err := s.contentKey(ctx, objectID)
	if err != nil {
		return playback.ContentKey{}, fmt.Errorf("read content key: %w", err)
	}
	return k, nil
}

func (s *Store) contentKey(ctx context.Context, objectID string) (k playback.ContentKey, token string, err error) {
	var kbps int32
	var kid, master, added int64
	var seal []byte
	found, err := s.db.Get(ctx, `SELECT track_id, kbps, kid, seal_id, master_id, wrapped, added, writer FROM content_key WHERE object_id = ?`,
		[]any{objectID}, &k.TrackID, &kbps, &kid, &seal, &master, &k.Wrapped, &added, &token)
	switch {
	case err == nil && !found:
		err = playback.ErrAbsent
	case err == nil && len(seal) != len(k.SealID):
		err = fmt.Errorf("seal id of %d bytes", len(seal))
	}
	if err != nil {
		return playback.ContentKey{}, "", err
	}
	k.ObjectID, k.Kbps, k.KID, k.MasterID = objectID, uint32(kbps), uint64(kid), uint32(master)
	k.SealID, k.Added = [16]byte(seal), fromMS(added)
	return k, token, nil
}

// NewestKey implements [playback.Store].
func (s *Store) NewestKey(ctx context.Context, trackID string, kbps uint32) (playback.ContentKey, error) {
	type place struct{ object, token string }
	var places []place
	var p place
	err := s.db.Each(ctx, `SELECT object_id, writer FROM track_key WHERE track_id = ? AND kbps = ?`, []any{trackID, int32(kbps)},
		[]any{&p.object, &p.token}, func() (bool, error) {
			places = append(places, p)
			return true, nil
		})
	if err != nil {
		return playback.ContentKey{}, fmt.Errorf("read content key: %w", err)
	}
	for _, p := range places { // the newest first; nearly always it is the first
		k, token, err := s.contentKey(ctx, p.object)
		if err == nil && token == p.token {
			return k, nil
		}
		if err != nil && !isAbsent(err) {
			return playback.ContentKey{}, fmt.Errorf("read content key: %w", err)
		}
	}
	return playback.ContentKey{}, fmt.Errorf("read content key: %w", playback.ErrAbsent)
}
