package cassandra

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
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

const (
	// bucketsAtOnce is how many buckets are looked up, rowsAtOnce how many rows of one are
	// read, at a time.
	bucketsAtOnce = 64
	rowsAtOnce    = 500
)

// walker goes along one list.
type walker struct {
	store     *Store
	list      string
	sign, dir string
	size      int // rows of a bucket to read at a time
}

// walk gives the rows of a list in its order, after a place, reading size rows at a time.
func (s *Store) walk(ctx context.Context, list string, desc bool, after *row, size int, fn func(*row) (more bool, err error)) error {
	w := walker{store: s, list: list, sign: ">", dir: "ASC", size: min(size, rowsAtOnce)}
	if desc {
		w.sign, w.dir = "<", "DESC"
	}
	from, args := "", []any{list}
	if after != nil {
		more, err := w.bucket(ctx, after.bucket, after, fn)
		if err != nil || !more {
			return err
		}
		from, args = ` AND bucket `+w.sign+` ?`, append(args, after.bucket)
	}
	for side := 1; ; {
		var bucket string
		var buckets []string
		err := s.db.Each(ctx, `SELECT bucket FROM listing_bucket WHERE list = ?`+from+` ORDER BY bucket `+w.dir+` LIMIT ?`,
			append(slices.Clone(args), bucketsAtOnce), []any{&bucket}, func() (bool, error) {
				buckets = append(buckets, bucket)
				return true, nil
			})
		if err != nil {
			return err
		}
		for left := buckets; len(left) > 0; {
			side = min(side, len(left))
			rows, more, err := w.side(ctx, left[:side], fn)
			if err != nil || !more {
				return err
			}
			left = left[side:]
			// As many as have rowsAtOnce together, if the next ones are as these were.
			side = max(1, min(side*rowsAtOnce/max(rows, 1), bucketsAtOnce))
		}
		if len(buckets) < bucketsAtOnce {
			return nil
		}
		from, args = ` AND bucket `+w.sign+` ?`, []any{list, buckets[len(buckets)-1]}
	}
}

// side reads the beginnings of some buckets side by side, and gives all rows in order.
func (w walker) side(ctx context.Context, buckets []string, fn func(*row) (bool, error)) (n int, more bool, err error) {
	firsts := make([][]row, len(buckets))
	if len(buckets) == 1 {
		firsts[0], err = w.rows(ctx, buckets[0], nil)
	} else {
		err = w.beginnings(ctx, buckets, firsts)
	}
	if err != nil {
		return 0, false, err
	}
	for i, rows := range firsts {
		n += len(rows)
		if more, err = w.rest(ctx, buckets[i], rows, fn); err != nil || !more {
			return n, more, err
		}
	}
	return n, true, nil
}

// beginnings reads the first rows of buckets, inOne to a statement. Such a statement knows
// no order but that of the keys: for the other one a bucket that has more is read again.
func (w walker) beginnings(ctx context.Context, buckets []string, into [][]row) error {
	chunks := slices.Collect(slices.Chunk(buckets, inOne))
	return eachAtOnce(ctx, len(chunks), func(ctx context.Context, c int) error {
		found := make(map[string][]row, len(chunks[c]))
		r := row{place: place{list: w.list}}
		args := append(append([]any{w.list}, anyOf(chunks[c])...), w.size)
		err := w.store.db.Each(ctx, `SELECT bucket, key, id, writer, version, shares FROM listing WHERE list = ? AND bucket IN (`+questions(len(chunks[c]))+
			`) PER PARTITION LIMIT ?`, args, []any{&r.bucket, &r.key, &r.id, &r.writer, &r.version, &r.shares}, func() (bool, error) {
			found[r.bucket] = append(found[r.bucket], r)
			return true, nil
		})
		if err != nil {
			return err
		}
		for i, bucket := range chunks[c] {
			rows := found[bucket]
			if w.dir == "DESC" {
				if slices.Reverse(rows); len(rows) == w.size {
					if rows, err = w.rows(ctx, bucket, nil); err != nil {
						return err
					}
				}
			}
			into[c*inOne+i] = rows
		}
		return nil
	})
}

func (w walker) bucket(ctx context.Context, bucket string, after *row, fn func(*row) (bool, error)) (more bool, err error) {
	rows, err := w.rows(ctx, bucket, after)
	if err != nil {
		return false, err
	}
	return w.rest(ctx, bucket, rows, fn)
}

// rest gives rows of a bucket, and those after them.
func (w walker) rest(ctx context.Context, bucket string, rows []row, fn func(*row) (bool, error)) (more bool, err error) {
	for {
		for i := range rows {
			if more, err := fn(&rows[i]); err != nil || !more {
				return false, err
			}
		}
		if len(rows) < w.size {
			return true, nil
		}
		if w.size = min(2*w.size, rowsAtOnce); len(rows) > 0 {
			if rows, err = w.rows(ctx, bucket, &rows[len(rows)-1]); err != nil {
				return false, err
			}
		}
	}
}

// rows are the next of a bucket; after a row that is one of a writer, not of all of its id.
func (w walker) rows(ctx context.Context, bucket string, after *row) (list []row, err error) {
	r := row{place: place{list: w.list, bucket: bucket}}
	cond, args := "", []any{w.list, bucket}
	switch {
	case after == nil:
	case after.writer == "":
		cond, args = ` AND (key, id) `+w.sign+` (?, ?)`, append(args, after.key, after.id)
	default:
		cond, args = ` AND (key, id, writer) `+w.sign+` (?, ?, ?)`, append(args, after.key, after.id, after.writer)
	}
	err = w.store.db.Each(ctx, `SELECT key, id, writer, version, shares FROM listing WHERE list = ? AND bucket = ?`+cond+
		` ORDER BY key `+w.dir+`, id `+w.dir+`, writer `+w.dir+` LIMIT ?`, append(args, w.size),
		[]any{&r.key, &r.id, &r.writer, &r.version, &r.shares}, func() (bool, error) {
			list = append(list, r)
			return true, nil
		})
	return list, err
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
	if from == nil { // the total is of the same rows
		total := counter{wanted: wanted}
		err := s.walk(ctx, e.list, e.desc, nil, rowsAtOnce, func(r *row) (bool, error) {
			more := total.more(r)
			if !f.full && wanted(r) {
				if err := f.add(ctx, r); err != nil {
					return false, err
				}
			}
			return more || !f.full, nil
		})
		if err == nil {
			err = f.flush(ctx)
		}
		page.Total = total.n
		return page, err
	}
	total := counter{wanted: wanted}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return s.walk(ctx, e.list, e.desc, nil, rowsAtOnce, func(r *row) (bool, error) { return total.more(r), nil })
	})
	g.Go(func() error {
		err := s.walk(ctx, e.list, e.desc, from, limit+1, func(r *row) (bool, error) {
			if !wanted(r) {
				return true, nil
			}
			err := f.add(ctx, r)
			return !f.full, err
		})
		if err != nil {
			return err
		}
		return f.flush(ctx)
	})
	err = g.Wait()
	page.Total = total.n
	return page, err
}

// counter counts entities up to metadata.MaxTotal. It believes the rows: one whose change is
// under way, or was never made, may be counted, until it is taken out.
type counter struct {
	wanted          func(*row) bool
	n               uint64
	lastKey, lastID string
}

func (c *counter) more(r *row) bool {
	if c.n < metadata.MaxTotal && c.wanted(r) && (r.key != c.lastKey || r.id != c.lastID) {
		c.n, c.lastKey, c.lastID = c.n+1, r.key, r.id
	}
	return c.n < metadata.MaxTotal
}

// filler makes a page of rows.
type filler[T proto.Message] struct {
	entities[T]
	page  *metadata.Page[T]
	store *Store
	limit int
	rows  []*row // not looked at so far
	size  int
	last  *row
	full  bool
}

// add takes a row, and looks at those so far when they may fill the page.
func (f *filler[T]) add(ctx context.Context, r *row) error {
	if f.rows = append(f.rows, r); len(f.rows) <= f.limit-len(f.page.Items) && len(f.rows) < rowsAtOnce {
		return nil
	}
	return f.flush(ctx)
}

func (f *filler[T]) flush(ctx context.Context) error {
	rows := f.rows
	if f.rows = nil; f.full || len(rows) == 0 {
		return nil
	}
	return f.take(ctx, rows)
}

// take reads the entities of rows and keeps those whose heads name the rows' writers.
func (f *filler[T]) take(ctx context.Context, rows []*row) error {
	keys := make([]string, 0, len(rows))
	for _, r := range rows {
		keys = append(keys, f.key(r.id))
	}
	slices.Sort(keys)
	heads, err := f.store.heads(ctx, slices.Compact(keys), hintColumns)
	if err != nil {
		return err
	}
	for _, r := range rows {
		h := heads[f.key(r.id)]
		if h == nil {
			continue // its change is under way, or was never made
		}
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
			return nil
		}
		m := f.make()
		if err := decode(h.data, m); err != nil {
			return err
		}
		f.size += len(h.data)
		f.page.Items, f.last = append(f.page.Items, m), r
	}
	return nil
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
