package cassandra

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/services/metadata"
)

// place is where an entity stands in a list.
type place struct{ list, bucket, key string }

// listed is all that the lists say of an entity; without places it is in none.
type listed struct {
	places []place
	shares string
}

func (l listed) equal(o listed) bool { return l.shares == o.shares && slices.Equal(l.places, o.places) }

// hint is what tells a row of a list from others.
type hint struct {
	id, writer string
	version    int64
}

// How the buckets of the lists are cut; the migration tells how large they get.
const (
	trackLetters = 3
	groupLetters = 2
	dateLetters  = len("2006-01")
	addedBucket  = 10 * 60 * 1000 // ms
	numberDigits = 19
)

func number(n int64) string { return fmt.Sprintf("%0*d", numberDigits, max(n, 0)) }

func byAdded(list string, ms int64) place {
	return place{list + "added", number(ms / addedBucket), number(ms)}
}

// byText is by a key whose first letters are the bucket: the order of buckets is that of keys.
func byText(list, key string, letters int) place {
	end := 0
	for n := 0; n < letters && end < len(key); n++ {
		_, size := utf8.DecodeRuneInString(key[end:])
		end += size
	}
	return place{list, "=" + key[:end], key}
}

func ownerList(owner string) string { return "track/" + owner + "/" }

func listTrack(r *metadatav1.TrackRecord) (l listed) {
	if r == nil {
		return l
	}
	t := r.GetTrack()
	for _, list := range []string{"track/", ownerList(t.GetOwnerId())} {
		l.places = append(l.places, byAdded(list, t.GetAddedUnixMs()), byText(list+"title", metadata.TrackSortKey(t), trackLetters))
	}
	l.shares = shareText(r.GetClass().GetId(), t.GetOwnerId())
	return l
}

func listAlbum(r *metadatav1.AlbumRecord) (l listed) {
	a := r.GetAlbum()
	if a.GetTrackCount() == 0 {
		return l
	}
	l.places = []place{
		byAdded("album/", a.GetAddedUnixMs()), byText("album/date", a.GetDate(), dateLetters),
		byText("album/title", r.GetSortTitle(), groupLetters), byText("album/artist", r.GetSortArtist(), groupLetters),
	}
	l.shares = sharesText(r.GetShares())
	return l
}

func listArtist(r *metadatav1.ArtistRecord) (l listed) {
	if len(r.GetShares()) == 0 {
		return l
	}
	return listed{places: []place{byText("artist/name", r.GetSortName(), groupLetters)}, shares: sharesText(r.GetShares())}
}

func shareText(class int64, owner string) string { return strconv.FormatInt(class, 10) + " " + owner }

func sharesText(list []*metadatav1.Share) string {
	var out []string
	for _, s := range list {
		out = append(out, shareText(s.GetClassId(), s.GetOwnerId()))
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ",")
}

// eye is a viewer that looks at many rows.
type eye struct {
	all     bool
	user    string
	classes map[string]bool
}

func newEye(v metadata.Viewer) eye {
	e := eye{all: v.All, user: v.UserID, classes: map[string]bool{}}
	for _, c := range v.Classes {
		e.classes[strconv.FormatInt(c, 10)] = true
	}
	return e
}

func (e eye) sees(shares string) bool {
	if e.all {
		return true
	}
	for s := range strings.SplitSeq(shares, ",") {
		if class, owner, ok := strings.Cut(s, " "); ok && (e.classes[class] || owner == e.user && owner != "") {
			return true
		}
	}
	return false
}

// blind sees at most what is its own.
func (e eye) blind() bool { return !e.all && len(e.classes) == 0 }

// enlist writes the rows of an entity, which are valid when its head names the writer.
func (s *Store) enlist(ctx context.Context, l listed, h hint) error {
	return eachAtOnce(ctx, len(l.places), func(ctx context.Context, i int) error {
		p := l.places[i]
		err := s.once("bucket "+p.list+"\x00"+p.bucket, func() error {
			return s.db.Exec(ctx, `INSERT INTO listing_bucket (list, bucket, here) VALUES (?, ?, true)`, p.list, p.bucket)
		})
		if err != nil {
			return err
		}
		return s.db.Exec(ctx, `INSERT INTO listing (list, bucket, key, id, writer, version, shares) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			p.list, p.bucket, p.key, h.id, h.writer, h.version, l.shares)
	})
}

// ever is after the time of every write. A writer's name is never used again, so its row
// may be gone for good, also for a copy that comes late.
const ever = 1 << 62

// strike takes rows that are not valid any more. What it misses, because the process dies
// or the ring is away, whoever reads the list takes.
func (s *Store) strike(ctx context.Context, l listed, h hint) {
	_ = eachAtOnce(context.WithoutCancel(ctx), len(l.places), func(ctx context.Context, i int) error {
		p := l.places[i]
		return s.db.Exec(ctx, `DELETE FROM listing USING TIMESTAMP ? WHERE list = ? AND bucket = ? AND key = ? AND id = ? AND writer = ?`,
			int64(ever), p.list, p.bucket, p.key, h.id, h.writer)
	})
}

// row of a list.
type row struct {
	place
	hint
	shares string
}

// bucketsAtOnce is how many buckets are looked up, rowsAtOnce how many rows are read, at a time.
const (
	bucketsAtOnce = 64
	rowsAtOnce    = 500
)

// walk gives the rows of a list in its order, after a place.
func (s *Store) walk(ctx context.Context, list string, desc bool, after *row, fn func(*row) (more bool, err error)) error {
	sign, dir := ">", "ASC"
	if desc {
		sign, dir = "<", "DESC"
	}
	var bucket string
	from, args := "", []any{list}
	if after != nil {
		more, err := s.walkBucket(ctx, list, after.bucket, sign, dir, after, fn)
		if err != nil || !more {
			return err
		}
		from, args = ` AND bucket `+sign+` ?`, append(args, after.bucket)
	}
	for {
		var buckets []string
		err := s.db.Each(ctx, `SELECT bucket FROM listing_bucket WHERE list = ?`+from+` ORDER BY bucket `+dir+` LIMIT ?`,
			append(slices.Clone(args), bucketsAtOnce), []any{&bucket}, func() (bool, error) {
				buckets = append(buckets, bucket)
				return true, nil
			})
		if err != nil {
			return err
		}
		for _, b := range buckets {
			if more, err := s.walkBucket(ctx, list, b, sign, dir, nil, fn); err != nil || !more {
				return err
			}
		}
		if len(buckets) < bucketsAtOnce {
			return nil
		}
		from, args = ` AND bucket `+sign+` ?`, []any{list, buckets[len(buckets)-1]}
	}
}

func (s *Store) walkBucket(ctx context.Context, list, bucket, sign, dir string, after *row, fn func(*row) (bool, error)) (more bool, err error) {
	r := row{place: place{list: list, bucket: bucket}}
	cond, args := "", []any{list, bucket}
	if after != nil {
		cond, args = ` AND (key, id) `+sign+` (?, ?)`, append(args, after.key, after.id)
	}
	more = true
	err = s.db.Each(ctx, `SELECT key, id, writer, version, shares FROM listing WHERE list = ? AND bucket = ?`+cond+
		` ORDER BY key `+dir+`, id `+dir+`, writer `+dir, args, []any{&r.key, &r.id, &r.writer, &r.version, &r.shares}, func() (bool, error) {
		one := r
		more, err = fn(&one)
		return more, err
	})
	return more, err
}

// entities is what differs between the lists.
type entities[T proto.Message] struct {
	list string
	desc bool
	key  func(id string) string
	make func() T
	// only restricts to some rows; nil is all.
	only func(r *row) bool
	// place is that of a cursor.
	place func(c *metadata.Cursor) (place, error)
}

// maxPage is where a page ends early, in bytes of records: an answer has a bound.
const maxPage = 4 << 20

func list[T proto.Message](ctx context.Context, s *Store, e entities[T], v metadata.Viewer, after *metadata.Cursor, limit int) (page metadata.Page[T], err error) {
	look := newEye(v)
	wanted := func(r *row) bool { return look.sees(r.shares) && (e.only == nil || e.only(r)) }
	var from *row
	if after != nil {
		p, err := e.place(after)
		if err != nil {
			return page, err
		}
		from = &row{place: p, hint: hint{id: after.ID}}
	}
	f := filler[T]{page: &page, store: s, entities: e, limit: limit}
	var rows []*row
	err = s.walk(ctx, e.list, e.desc, from, func(r *row) (bool, error) {
		if !wanted(r) {
			return true, nil
		}
		if rows = append(rows, r); len(rows) <= limit-len(page.Items) && len(rows) < rowsAtOnce {
			return true, nil
		}
		more, err := f.take(ctx, rows)
		rows = rows[:0]
		return more, err
	})
	if err == nil && !f.full {
		_, err = f.take(ctx, rows)
	}
	if err != nil {
		return page, err
	}
	page.Total, err = s.count(ctx, e.list, e.desc, wanted)
	return page, err
}

// count counts rows up to metadata.MaxTotal. It believes the rows: one whose change is under
// way, or was never made, may be counted, until it is taken out.
func (s *Store) count(ctx context.Context, list string, desc bool, wanted func(*row) bool) (n uint64, err error) {
	var lastKey, lastID string
	err = s.walk(ctx, list, desc, nil, func(r *row) (bool, error) {
		if wanted(r) && (r.key != lastKey || r.id != lastID) {
			n, lastKey, lastID = n+1, r.key, r.id
		}
		return n < metadata.MaxTotal, nil
	})
	return n, err
}

// filler makes a page of rows.
type filler[T proto.Message] struct {
	entities[T]
	page  *metadata.Page[T]
	store *Store
	limit int
	size  int
	last  *row
	full  bool
}

// take reads the entities of rows and keeps those whose heads name the rows' writers.
func (f *filler[T]) take(ctx context.Context, rows []*row) (more bool, err error) {
	heads := make([]head, len(rows))
	err = eachAtOnce(ctx, len(rows), func(ctx context.Context, i int) (err error) {
		heads[i], err = f.store.head(ctx, f.key(rows[i].id))
		return err
	})
	if err != nil {
		return false, err
	}
	for i, r := range rows {
		h := &heads[i]
		if h.hint != r.writer {
			if h.version > r.version { // its change was not made, or is of the past
				f.store.strike(ctx, listed{places: []place{r.place}}, r.hint)
			}
			continue
		}
		if len(f.page.Items) == f.limit || f.size > maxPage {
			f.page.Next = &metadata.Cursor{Key: f.last.key, ID: f.last.id}
			if strings.HasSuffix(f.list, "added") {
				f.page.Next.Key = plainNumber(f.last.key)
			}
			f.full = true
			return false, nil
		}
		m := f.make()
		if err := decode(h.data, m); err != nil {
			return false, err
		}
		f.size += len(h.data)
		f.page.Items, f.last = append(f.page.Items, m), r
	}
	return true, nil
}

func plainNumber(key string) string {
	if key = strings.TrimLeft(key, "0"); key == "" {
		return "0"
	}
	return key
}

func numberPlace(list string) func(*metadata.Cursor) (place, error) {
	return func(c *metadata.Cursor) (place, error) {
		n, err := strconv.ParseInt(c.Key, 10, 64)
		if err != nil {
			return place{}, metadata.ErrPageToken
		}
		return byAdded(list, n), nil
	}
}

func textPlace(list string, letters int) func(*metadata.Cursor) (place, error) {
	return func(c *metadata.Cursor) (place, error) { return byText(list, c.Key, letters), nil }
}

var errOrder = errors.New("no such order")

// ListTracks implements [metadata.Store].
func (s *Store) ListTracks(ctx context.Context, q metadata.TrackQuery) (page metadata.Page[*metadatav1.TrackRecord], err error) {
	e := entities[*metadatav1.TrackRecord]{key: trackKey, make: newTrack}
	prefix, owner := "track/", q.OwnerID
	if look := newEye(q.Viewer); look.blind() {
		if look.user == "" || owner != "" && owner != look.user {
			return page, nil
		}
		owner = look.user
	}
	if owner != "" {
		prefix = ownerList(owner)
	}
	switch q.Order {
	case metadata.OrderAdded:
		e.list, e.desc, e.place = prefix+"added", true, numberPlace(prefix)
	case metadata.OrderTitle:
		e.list, e.place = prefix+"title", textPlace(prefix+"title", trackLetters)
	default:
		return page, fmt.Errorf("list tracks by %q: %w", q.Order, errOrder)
	}
	if page, err = list(ctx, s, e, q.Viewer, q.After, q.Limit); err != nil {
		return page, fmt.Errorf("list tracks: %w", err)
	}
	return page, nil
}

// ListAlbums implements [metadata.Store].
func (s *Store) ListAlbums(ctx context.Context, q metadata.AlbumQuery) (page metadata.Page[*metadatav1.AlbumRecord], err error) {
	e := entities[*metadatav1.AlbumRecord]{key: albumKey, make: newAlbum, list: "album/" + string(q.Order)}
	switch q.Order {
	case metadata.OrderAdded:
		e.desc, e.place = true, numberPlace("album/")
	case metadata.OrderDate:
		e.desc, e.place = true, textPlace(e.list, dateLetters)
	case metadata.OrderTitle, metadata.OrderArtist:
		e.place = textPlace(e.list, groupLetters)
	default:
		return page, fmt.Errorf("list albums by %q: %w", q.Order, errOrder)
	}
	if page, err = list(ctx, s, e, q.Viewer, q.After, q.Limit); err != nil {
		return page, fmt.Errorf("list albums: %w", err)
	}
	return page, nil
}

// ListArtists implements [metadata.Store].
func (s *Store) ListArtists(ctx context.Context, q metadata.ArtistQuery) (page metadata.Page[*metadatav1.ArtistRecord], err error) {
	e := entities[*metadatav1.ArtistRecord]{key: artistKey, make: newArtist, list: "artist/name", place: textPlace("artist/name", groupLetters)}
	if page, err = list(ctx, s, e, q.Viewer, q.After, q.Limit); err != nil {
		return page, fmt.Errorf("list artists: %w", err)
	}
	return page, nil
}
