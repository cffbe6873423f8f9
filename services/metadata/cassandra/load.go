package cassandra

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/internal/cassandradb"
	"github.com/segue-music/segue/internal/cassandradb/agenda"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/pause"
	"github.com/segue-music/segue/services/metadata"
)

// Why a catalogue is not filled, or not opened.
var (
	ErrNotEmpty = fault.New(fault.Exists, "the catalogue in Cassandra is not empty")
	ErrInUse    = fault.New(fault.Conflict, "a metadata process has the catalogue in Cassandra open, or was killed less than a minute ago")
	ErrOther    = fault.New(fault.Conflict, "the catalogue in Cassandra is half filled with another one: drop its keyspace and migrate")
	ErrLoading  = fault.New(fault.Unavailable, "the catalogue in Cassandra is being filled, or that was broken off: repeat it")
)

// The phases of a load.
const (
	phaseChecking = "checking"
	phaseWriting  = "writing"
	phaseDone     = "done"
)

const (
	// loadVersion is that of every entity that was loaded, and loadTime the time of every
	// cell. All that is changed later has a later one, so that a write of the load that comes
	// late, or again, changes nothing.
	loadVersion = 1
	loadTime    = 1
	// loadHint names the rows of lists that were loaded: an id has them once.
	loadHint = "load"
)

// Load fills an empty catalogue with all of another, with plain writes and without events:
// those of the other were published by it. The keyspace has [Schema]. Nobody may have the
// catalogue open: [ErrInUse]; [Open] is refused until the load is done. A load that was broken off
// is repeated, with the same content: [ErrOther]. One that is done already is not an error.
func Load(ctx context.Context, c cassandradb.Config, from metadata.Dump, opt Options) (err error) {
	s, err := open(ctx, c, opt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.db.Close()) }()
	state, err := from.State(ctx)
	if err != nil {
		return err
	}
	todo, err := s.beginLoad(ctx, state)
	if err != nil || !todo {
		return err
	}
	l := newLoader(ctx, s, opt.Log)
	if err := l.all(from); err != nil {
		return fmt.Errorf("fill catalogue: %w", err)
	}
	return s.setPhase(ctx, state, phaseWriting, phaseDone)
}

// phase is that of a load, and what is loaded; empty where there was none.
func (s *Store) phase(ctx context.Context) (phase, state string, err error) {
	_, err = s.db.GetSerial(ctx, `SELECT phase, state FROM load WHERE name = 'catalogue'`, nil, &phase, &state)
	return phase, state, err
}

func (s *Store) notLoading(ctx context.Context) error {
	phase, _, err := s.phase(ctx)
	if err == nil && (phase == phaseChecking || phase == phaseWriting) {
		err = ErrLoading
	}
	return err
}

// beginLoad says whether there is something to load.
func (s *Store) beginLoad(ctx context.Context, state string) (todo bool, err error) {
	phase, of, err := s.phase(ctx)
	switch {
	case err != nil:
		return false, err
	case phase == phaseDone && of == state:
		return false, nil
	case phase == phaseDone:
		return false, ErrNotEmpty
	case phase == phaseWriting && of != state:
		return false, ErrOther
	case phase == phaseWriting:
		return true, nil // nobody could open it since
	}
	// First without a word to those who serve: it may be a mistake.
	if err := s.checkLoad(ctx); err != nil {
		return false, err
	}
	if err := s.setPhase(ctx, state, phase, phaseChecking); err != nil {
		return false, err
	}
	// From here on nobody opens it, so that this holds.
	if err := s.checkLoad(ctx); err != nil {
		return false, errors.Join(err, s.setPhase(ctx, state, phaseChecking, ""))
	}
	return true, s.setPhase(ctx, state, phaseChecking, phaseWriting)
}

// setPhase changes the phase conditionally; empty is none.
func (s *Store) setPhase(ctx context.Context, state, from, to string) error {
	if to == "" {
		state = ""
	}
	null := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	change := cassandradb.Statement{
		CQL: `UPDATE load SET phase = ?, state = ? WHERE name = 'catalogue' IF phase = ?`, Args: []any{null(to), null(state), null(from)},
	}
	verdict := func(ctx context.Context) (cassandradb.Verdict, error) {
		phase, of, err := s.phase(ctx)
		switch {
		case err != nil:
			return cassandradb.Undecided, err
		case phase == to && of == state:
			return cassandradb.Applied, nil
		case phase == from:
			return cassandradb.Undecided, nil
		}
		return cassandradb.Refused, nil
	}
	made, err := s.db.Decide(ctx, []cassandradb.Statement{change}, verdict)
	if err != nil || made {
		return err
	}
	// Another load of the same may have come first, which does the same.
	if v, err := verdict(ctx); err != nil || v == cassandradb.Applied {
		return err
	}
	return ErrOther
}

// checkLoad says whether the catalogue is empty and nobody's.
func (s *Store) checkLoad(ctx context.Context) error {
	used, err := s.box.Used(ctx)
	if err != nil {
		return err
	}
	if used {
		return ErrInUse
	}
	// Every change of a catalogue begins with one of these. A question to all nodes, once.
	for _, table := range []string{"claim", "entity", "listing_bucket"} {
		column := "key"
		if table == "listing_bucket" {
			column = "list"
		}
		var any string
		found, err := s.db.Get(ctx, `SELECT `+column+` FROM `+table+` LIMIT 1`, nil, &any)
		if err != nil {
			return err
		}
		if found {
			return ErrNotEmpty
		}
	}
	return nil
}

const (
	// loadAtOnce is how many writes of a load are under way.
	loadAtOnce = 64
	// loadRows is how many rows of one partition are written together, loadWaiting how many
	// rows of lists wait for others of their bucket.
	loadRows    = 100
	loadWaiting = 50_000
	// loadPatience is how long a write is tried that the ring does not take.
	loadPatience = time.Minute
	// loadTell is how often it is told how far a load is.
	loadTell = 10 * time.Second
)

// loader writes a catalogue.
type loader struct {
	s   *Store
	log *slog.Logger
	g   *errgroup.Group
	ctx context.Context //nolint:containedctx // of one call of Load: that of its group

	lists   map[place][]cassandradb.Statement // by bucket
	waiting int
	told    time.Time
	tracks  int
	albums  int
	artists int
}

func newLoader(ctx context.Context, s *Store, log *slog.Logger) *loader {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &loader{s: s, log: log, lists: map[place][]cassandradb.Statement{}, told: time.Now()}
	l.g, l.ctx = errgroup.WithContext(ctx)
	l.g.SetLimit(loadAtOnce)
	return l
}

func (l *loader) all(from metadata.Dump) error {
	err := l.entities(from)
	if wait := l.g.Wait(); wait != nil {
		return wait
	}
	if err != nil {
		return err
	}
	l.log.InfoContext(l.ctx, "catalogue filled", "tracks", l.tracks, "albums", l.albums, "artists", l.artists)
	return nil
}

// every runs fn on what a sequence yields.
func every[T any](seq iter.Seq2[T, error], fn func(T) error) error {
	for v, err := range seq {
		if err == nil {
			err = fn(v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) entities(from metadata.Dump) error {
	for _, step := range []func() error{
		func() error { return every(from.Classes(l.ctx), l.class) },
		func() error { return every(from.Claims(l.ctx), l.claim) },
		func() error {
			return every(from.Artists(l.ctx), func(r *metadatav1.ArtistRecord) error { return l.artist(from, r) })
		},
		func() error {
			return every(from.Albums(l.ctx), func(r *metadatav1.AlbumRecord) error { return l.album(from, r) })
		},
		func() error { return every(from.Tracks(l.ctx), l.track) },
		func() error { return every(from.Marks(l.ctx), l.mark) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return l.flush(0)
}

// put writes rows of one partition; it waits for its turn.
func (l *loader) put(list ...cassandradb.Statement) error {
	l.g.Go(func() error { return l.write(list) })
	if time.Since(l.told) > loadTell {
		l.told = time.Now()
		l.log.InfoContext(l.ctx, "filling the catalogue", "artists", l.artists, "albums", l.albums, "tracks", l.tracks)
	}
	return l.ctx.Err()
}

// write has patience with a ring that is overloaded.
func (l *loader) write(list []cassandradb.Statement) error {
	for began := time.Now(); ; {
		err := l.s.db.ExecAll(l.ctx, list)
		if fault.KindOf(err) != fault.Unavailable || time.Since(began) > loadPatience || !pause.About(l.ctx, time.Second) {
			return err
		}
	}
}

// plain is a write of the load.
func plain(cql string, args ...any) cassandradb.Statement {
	return cassandradb.Statement{CQL: cql + fmt.Sprint(` USING TIMESTAMP `, loadTime), Args: args}
}

func (l *loader) class(c *metadatav1.VisibilityClass) error {
	data, err := proto.Marshal(c)
	if err != nil {
		return err
	}
	return l.put(plain(`INSERT INTO class (name, id, data) VALUES ('class', ?, ?)`, c.GetId(), data))
}

func (l *loader) claim(c metadata.Claim) error {
	return l.put(plain(`INSERT INTO claim (key, id) VALUES (?, ?)`, c.Key, c.ID))
}

// mark has its entry in the agenda before its head, as always.
func (l *loader) mark(m metadata.Mark) error {
	key, due := markKey(m), m.Due.UnixMilli()
	l.g.Go(func() error {
		if err := l.s.marks.Put(l.ctx, agenda.Entry{At: due, Key: key}); err != nil {
			return err
		}
		return l.write([]cassandradb.Statement{
			plain(`INSERT INTO entity (key, kind, id, version, drained, due) VALUES (?, '', '', ?, ?, ?)`, key, int64(loadVersion), int64(loadVersion), due),
		})
	})
	return l.ctx.Err()
}

// entity writes a head; its parts are there, recent of them beside it.
func (l *loader) entity(key, id string, revision uint64, record proto.Message, is listed, day string, recent []cassandradb.Statement, moved bool) error {
	data, err := proto.Marshal(record)
	if err != nil {
		return err
	}
	hint := ""
	if len(is.places) > 0 {
		hint = loadHint
		if err := l.enlist(is, id); err != nil {
			return err
		}
	}
	// Its events were drained: there are none before the next version.
	head := plain(`INSERT INTO entity (key, kind, id, version, drained, revision, data, shares, day, hint, recent, moved)
		VALUES (?, '', '', ?, ?, ?, ?, ?, ?, ?, ?, ?)`, key, int64(loadVersion), int64(loadVersion), int64(revision), data, is.shares, day, hint, int32(len(recent)), moved)
	return l.put(append(recent, head)...)
}

func (l *loader) enlist(is listed, id string) error {
	for _, p := range is.places {
		err := l.s.once("bucket "+p.list+"\x00"+p.bucket, func() error {
			return l.put(plain(`INSERT INTO listing_bucket (list, bucket, here) VALUES (?, ?, true)`, p.list, p.bucket))
		})
		if err != nil {
			return err
		}
		bucket := place{list: p.list, bucket: p.bucket}
		l.lists[bucket] = append(l.lists[bucket], plain(`INSERT INTO listing (list, bucket, key, id, writer, version, shares) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			p.list, p.bucket, p.key, id, loadHint, int64(loadVersion-1), is.shares))
		l.waiting++
		if len(l.lists[bucket]) == loadRows {
			if err := l.flushBucket(bucket); err != nil {
				return err
			}
		}
	}
	return l.flush(loadWaiting)
}

// flush writes the rows of lists that wait, where they are more than most.
func (l *loader) flush(most int) error {
	if l.waiting <= most {
		return nil
	}
	for bucket := range l.lists {
		if err := l.flushBucket(bucket); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) flushBucket(bucket place) error {
	rows := l.lists[bucket]
	delete(l.lists, bucket)
	l.waiting -= len(rows)
	return l.put(rows...)
}

func (l *loader) track(r *metadatav1.TrackRecord) error {
	l.tracks++
	t := r.GetTrack()
	return l.entity(trackKey(t.GetId()), t.GetId(), t.GetRevision(), r, listTrack(r), "", nil, false)
}

// nothing is what a part has that is only there: null would be a tombstone.
var nothing = []byte{}

// nest takes the parts of one entity. As long as they are few they stay in its partition;
// with one more all go to the buckets.
type nest struct {
	l       *loader
	key     string
	own     []part
	buckets map[partBucketName][]cassandradb.Statement // nil while they are few
}

type partBucketName struct {
	kind   string
	bucket int
}

func (n *nest) add(p part) error {
	if n.buckets == nil {
		if n.own = append(n.own, p); len(n.own) <= maxRecent {
			return nil
		}
		n.buckets = map[partBucketName][]cassandradb.Statement{}
		for _, p := range n.own {
			if err := n.move(p); err != nil {
				return err
			}
		}
		n.own = nil
		return nil
	}
	return n.move(p)
}

func (n *nest) move(p part) error {
	b := partBucketName{p.kind, partBucket(p.kind, p.id)}
	n.buckets[b] = append(n.buckets[b], plain(`INSERT INTO entity_part (key, kind, bucket, id, data, dropped) VALUES (?, ?, ?, ?, ?, false)`,
		n.key, p.kind, b.bucket, p.id, p.data))
	if len(n.buckets[b]) < loadRows {
		return nil
	}
	rows := n.buckets[b]
	n.buckets[b] = nil
	return n.l.put(rows...)
}

// end writes what is left, and gives the rows of the entity's own partition.
func (n *nest) end() (own []cassandradb.Statement, err error) {
	for _, rows := range n.buckets {
		if len(rows) > 0 {
			if err := n.l.put(rows...); err != nil {
				return nil, err
			}
		}
	}
	for _, p := range n.own {
		own = append(own, plain(`INSERT INTO entity (key, kind, id, data, dropped, made) VALUES (?, ?, ?, ?, false, ?)`,
			n.key, p.kind, p.id, p.data, int64(loadVersion)))
	}
	return own, nil
}

func (l *loader) album(from metadata.Dump, r *metadatav1.AlbumRecord) error {
	l.albums++
	a := r.GetAlbum()
	n := nest{l: l, key: albumKey(a.GetId())}
	err := every(from.AlbumMembers(l.ctx, a.GetId()), func(m *metadatav1.AlbumMember) error {
		data, err := proto.Marshal(m)
		if err != nil {
			return err
		}
		if err := n.add(part{kind: kindMember, id: m.GetTrackId(), data: data}); err != nil {
			return err
		}
		return n.add(part{kind: kindSlot, id: slotID(m.GetDisc(), m.GetNumber(), m.GetTrackId()), data: nothing})
	})
	if err != nil {
		return err
	}
	own, err := n.end()
	if err != nil {
		return err
	}
	return l.entity(n.key, a.GetId(), a.GetRevision(), r, listAlbum(r), a.GetDate(), own, n.buckets != nil)
}

func (l *loader) artist(from metadata.Dump, r *metadatav1.ArtistRecord) error {
	l.artists++
	a := r.GetArtist()
	n := nest{l: l, key: artistKey(a.GetId())}
	err := every(from.ArtistMembers(l.ctx, a.GetId()), func(m *metadatav1.ArtistMember) error {
		data, err := proto.Marshal(m)
		if err != nil {
			return err
		}
		return n.add(part{kind: kindMember, id: m.GetTrackId(), data: data})
	})
	if err != nil {
		return err
	}
	err = every(from.ArtistAlbums(l.ctx, a.GetId()), func(id string) error { return n.add(part{kind: kindLink, id: id, data: nothing}) })
	if err != nil {
		return err
	}
	own, err := n.end()
	if err != nil {
		return err
	}
	return l.entity(n.key, a.GetId(), a.GetRevision(), r, listArtist(r), "", own, n.buckets != nil)
}
