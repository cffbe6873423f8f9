package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/services/metadata"
)

// maxPage is where a page ends early, in bytes of records: an answer has a bound.
const maxPage = 4 << 20

// filter is a viewer as conditions. One that sees everything has none.
type filter struct {
	all     bool
	user    string
	classes string // JSON array
}

func newFilter(v metadata.Viewer) (filter, error) {
	list, err := array(append([]int64{}, v.Classes...))
	return filter{all: v.All, user: v.UserID, classes: list}, err
}

// row is the condition on a row with class_id and owner_id.
func (f filter) row(alias string) (string, []any) {
	if f.all {
		return "TRUE", nil
	}
	return `(` + alias + `.class_id IN (SELECT value FROM json_each(?)) OR ` + alias + `.owner_id = ?)`, []any{f.classes, f.user}
}

// group is the condition on an album or artist: one of its shares is seen.
func (f filter) group(kind, id string) (string, []any) {
	if f.all {
		return "TRUE", nil
	}
	cond, args := f.row("s")
	return `EXISTS (SELECT 1 FROM ` + kind + `_share s WHERE s.` + kind + `_id = ` + id + ` AND ` + cond + `)`, args
}

// order is a total order over (column, id), by an index.
type order struct {
	column string
	desc   bool
	number bool
}

var errOrder = errors.New("no such order")

// after is the condition and the ORDER BY clause.
func (o order) after(c *metadata.Cursor) (cond string, args []any, by string, err error) {
	sign, dir := ">", ""
	if o.desc {
		sign, dir = "<", " DESC"
	}
	by = " ORDER BY e." + o.column + dir + ", e.id" + dir
	if c == nil {
		return "TRUE", nil, by, nil
	}
	var key any = c.Key
	if o.number {
		n, err := strconv.ParseInt(c.Key, 10, 64)
		if err != nil {
			return "", nil, "", metadata.ErrPageToken
		}
		key = n
	}
	return "(e." + o.column + ", e.id) " + sign + " (?, ?)", []any{key, c.ID}, by, nil
}

// join puts arguments, single ones and lists, into one list.
func join(parts ...any) (out []any) {
	for _, p := range parts {
		if list, ok := p.([]any); ok {
			out = append(out, list...)
		} else {
			out = append(out, p)
		}
	}
	return out
}

// entity is what differs between the three lists.
type entity[T proto.Message] struct {
	table string
	make  func() T
	where string // conditions of the list and of the total
	args  []any
	total string
	count []any
}

func listQuery(table, column, after, where, by string) string {
	return `SELECT e.` + column + `, e.id, e.data FROM ` + table + ` e WHERE ` + after + ` AND ` + where + by + ` LIMIT ?`
}

func list[T proto.Message](ctx context.Context, s *Store, e entity[T], o order, after *metadata.Cursor, limit int) (page metadata.Page[T], err error) {
	cond, args, by, err := o.after(after)
	if err != nil {
		return page, err
	}
	query := listQuery(e.table, o.column, cond, e.where, by)
	err = s.db.Read(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, query, join(args, e.args, limit+1)...)
		if err != nil {
			return err
		}
		if err := fill(&page, rows, limit, e.make); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, e.total, e.count...).Scan(&page.Total)
	})
	if err != nil {
		return page, fmt.Errorf("list %ss: %w", e.table, err)
	}
	return page, nil
}

// fill reads a page and closes rows.
func fill[T proto.Message](page *metadata.Page[T], rows *sql.Rows, limit int, make func() T) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	var last metadata.Cursor
	size := 0
	for rows.Next() {
		if len(page.Items) == limit || size > maxPage {
			page.Next = &metadata.Cursor{Key: last.Key, ID: last.ID}
			return nil
		}
		var data sql.RawBytes
		if err := rows.Scan(&last.Key, &last.ID, &data); err != nil {
			return err
		}
		m := make()
		if err := decode(data, m); err != nil {
			return err
		}
		size += len(data)
		page.Items = append(page.Items, m)
	}
	return rows.Err()
}

// ListTracks implements [metadata.Store].
func (s *Store) ListTracks(ctx context.Context, q metadata.TrackQuery) (metadata.Page[*metadatav1.TrackRecord], error) {
	f, err := newFilter(q.Viewer)
	if err != nil {
		return metadata.Page[*metadatav1.TrackRecord]{}, err
	}
	e := entity[*metadatav1.TrackRecord]{table: "track", make: newTrack}
	e.where, e.args = f.row("e")
	switch {
	case q.OwnerID != "":
		e.where, e.args = e.where+` AND e.owner_id = ?`, join(e.args, q.OwnerID)
		e.total, e.count = `SELECT count(*) FROM track e WHERE `+e.where, e.args
	case f.all:
		e.total = `SELECT coalesce(sum(tracks), 0) FROM class`
	default:
		e.total = `SELECT coalesce((SELECT sum(tracks) FROM class WHERE id IN (SELECT value FROM json_each(?1))), 0)
			+ (SELECT count(*) FROM track WHERE owner_id = ?2 AND class_id NOT IN (SELECT value FROM json_each(?1)))`
		e.count = []any{f.classes, f.user}
	}
	switch q.Order {
	case metadata.OrderAdded:
		return list(ctx, s, e, order{column: "added", desc: true, number: true}, q.After, q.Limit)
	case metadata.OrderTitle:
		return list(ctx, s, e, order{column: "sort_title"}, q.After, q.Limit)
	default:
		return metadata.Page[*metadatav1.TrackRecord]{}, fmt.Errorf("list tracks by %q: %w", q.Order, errOrder)
	}
}

// ListAlbums implements [metadata.Store].
func (s *Store) ListAlbums(ctx context.Context, q metadata.AlbumQuery) (metadata.Page[*metadatav1.AlbumRecord], error) {
	e := entity[*metadatav1.AlbumRecord]{table: "album", make: newAlbum}
	if err := grouped(&e, q.Viewer); err != nil {
		return metadata.Page[*metadatav1.AlbumRecord]{}, err
	}
	orders := map[metadata.Order]order{
		metadata.OrderAdded:  {column: "added", desc: true, number: true},
		metadata.OrderDate:   {column: "date", desc: true},
		metadata.OrderTitle:  {column: "sort_title"},
		metadata.OrderArtist: {column: "sort_artist"},
	}
	o, ok := orders[q.Order]
	if !ok {
		return metadata.Page[*metadatav1.AlbumRecord]{}, fmt.Errorf("list albums by %q: %w", q.Order, errOrder)
	}
	return list(ctx, s, e, o, q.After, q.Limit)
}

// ListArtists implements [metadata.Store].
func (s *Store) ListArtists(ctx context.Context, q metadata.ArtistQuery) (metadata.Page[*metadatav1.ArtistRecord], error) {
	e := entity[*metadatav1.ArtistRecord]{table: "artist", make: newArtist}
	if err := grouped(&e, q.Viewer); err != nil {
		return metadata.Page[*metadatav1.ArtistRecord]{}, err
	}
	return list(ctx, s, e, order{column: "sort_name"}, q.After, q.Limit)
}

// grouped lists what has tracks, and of that what the viewer sees.
func grouped[T proto.Message](e *entity[T], v metadata.Viewer) error {
	f, err := newFilter(v)
	if err != nil {
		return err
	}
	cond, args := f.group(e.table, "e.id")
	e.where, e.args = "e.live AND "+cond, args
	e.total, e.count = `SELECT count(*) FROM `+e.table+` e WHERE `+e.where, args
	return nil
}
