// Package row is what the engines of the upload service's store have in common: the
// columns of its tables, in order, and how they become what the service works with.
package row

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/segue-music/segue/internal/unixtime"
	"github.com/segue-music/segue/services/upload"
	"github.com/segue-music/segue/stream/id"
)

// Scanner is a row of any driver.
type Scanner interface{ Scan(dest ...any) error }

// The columns of uploads with the lease, which is last, of objects, of prints without
// their terms, and of watched files. "similar" is a word of SQL.
const (
	Upload = `id, owner_id, source, file_name, path, mod_ns, size, received, state, track_id, reason, step,
	progress, attempts, "similar", created_ms, updated_ms, revision, sha256, quick, staged, supersedes, generation,
	stage, priority, run_ms, facts, trace, lease`
	Object  = `id, upload_id, track_id, kbps, state, at_ms`
	Print   = `track_id, owner_id, pcm, items`
	Watched = `folder, path, size, mod_ns, device, inode, upload_id`
)

// names are those of Upload, in the order of OfUpload.
var names = strings.FieldsFunc(Upload, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) //nolint:gochecknoglobals // a constant

// OfUpload are the values of Upload without the lease.
func OfUpload(u upload.Upload) ([]any, error) {
	similar, err := json.Marshal(u.Similar)
	if err != nil {
		return nil, err
	}
	facts, err := json.Marshal(u.Facts)
	if err != nil {
		return nil, err
	}
	return []any{
		u.ID, u.OwnerID, u.Source, u.FileName, []byte(u.Path), unixtime.Nano(u.ModTime), u.Size, u.Received, int64(u.State),
		u.TrackID, u.Reason, u.Step, int64(u.Progress), int64(u.Attempts), string(similar), u.Created.UnixMilli(),
		u.Updated.UnixMilli(), int64(u.Revision), u.SHA256, u.Quick, u.Staged, u.Supersedes, int64(u.Generation),
		int64(u.Stage), u.Priority, unixtime.Milli(u.RunAt), string(facts), u.Trace,
	}, nil
}

// Changes are the columns in which two states of an upload differ, with the values of the
// later one: naming an indexed column in an update rewrites its indexes.
func Changes(was, now upload.Upload) (columns []string, values []any, err error) {
	before, err := OfUpload(was)
	if err != nil {
		return nil, nil, err
	}
	after, err := OfUpload(now)
	if err != nil {
		return nil, nil, err
	}
	for i, v := range after {
		if !same(before[i], v) {
			columns, values = append(columns, names[i]), append(values, v)
		}
	}
	return columns, values, nil
}

func same(a, b any) bool {
	if p, ok := a.([]byte); ok {
		q, _ := b.([]byte)
		return bytes.Equal(p, q)
	}
	return a == b
}

// ScanUpload reads Upload.
func ScanUpload(r Scanner) (u upload.Upload, err error) {
	var path []byte
	var mod, created, updated, run int64
	var similar, facts string
	err = r.Scan(&u.ID, &u.OwnerID, &u.Source, &u.FileName, &path, &mod, &u.Size, &u.Received, &u.State,
		&u.TrackID, &u.Reason, &u.Step, &u.Progress, &u.Attempts, &similar, &created, &updated, &u.Revision,
		&u.SHA256, &u.Quick, &u.Staged, &u.Supersedes, &u.Generation, &u.Stage, &u.Priority, &run, &facts, &u.Trace, &u.Lease)
	if err != nil {
		return u, err
	}
	u.Path, u.ModTime, u.RunAt = string(path), unixtime.FromNano(mod), unixtime.FromMilli(run)
	u.Created, u.Updated = unixtime.FromMilli(created), unixtime.FromMilli(updated)
	if err := json.Unmarshal([]byte(similar), &u.Similar); err != nil {
		return u, fmt.Errorf("read upload %s: %w", u.ID, err)
	}
	if err := json.Unmarshal([]byte(facts), &u.Facts); err != nil {
		return u, fmt.Errorf("read upload %s: %w", u.ID, err)
	}
	return u, nil
}

// OfObject are the values of Object.
func OfObject(o upload.Object) []any {
	return []any{o.ID, o.UploadID, o.TrackID, o.Kbps, int64(o.State), unixtime.Milli(o.At)}
}

// ScanObject reads Object.
func ScanObject(r Scanner) (o upload.Object, err error) {
	var at int64
	err = r.Scan(&o.ID, &o.UploadID, &o.TrackID, &o.Kbps, &o.State, &at)
	o.At = unixtime.FromMilli(at)
	return o, err
}

// OfPrint are the values of Print: the items as uint32, little endian.
func OfPrint(p upload.Print) []any {
	items := make([]byte, 0, 4*len(p.Items))
	for _, v := range p.Items {
		items = binary.LittleEndian.AppendUint32(items, v)
	}
	return []any{p.TrackID, p.OwnerID, p.PCM, items}
}

// ScanPrint reads Print.
func ScanPrint(r Scanner) (p upload.Print, err error) {
	var items []byte
	err = r.Scan(&p.TrackID, &p.OwnerID, &p.PCM, &items)
	for ; len(items) >= 4; items = items[4:] {
		p.Items = append(p.Items, binary.LittleEndian.Uint32(items))
	}
	return p, err
}

// Terms are those of a print as columns have them.
func Terms(p upload.Print) []int64 {
	terms := make([]int64, len(p.Terms))
	for i, t := range p.Terms {
		terms[i] = int64(t)
	}
	return terms
}

// OfWatched are the values of Watched.
func OfWatched(f upload.WatchedFile) []any {
	return []any{f.Folder, []byte(f.Path), f.Size, unixtime.Nano(f.ModTime), int64(f.Device), int64(f.Inode), f.UploadID}
}

// ScanWatched reads Watched.
func ScanWatched(r Scanner) (f upload.WatchedFile, err error) {
	var path []byte
	var mod, device, inode int64
	err = r.Scan(&f.Folder, &path, &f.Size, &mod, &device, &inode, &f.UploadID)
	f.Path, f.ModTime, f.Device, f.Inode = string(path), unixtime.FromNano(mod), uint64(device), uint64(inode)
	return f, err
}

// Stages are the stages of a lane's jobs in the order of their urgency, and the least
// priority.
func Stages(lane upload.Lane) (stages []upload.Stage, least int) {
	switch lane {
	case upload.LaneLight:
		return []upload.Stage{upload.StageTags, upload.StageTell}, upload.Normal
	case upload.LaneCover:
		return []upload.Stage{upload.StageCover}, upload.Normal
	case upload.LaneAudio:
		return []upload.Stage{upload.StageAudio}, upload.Normal
	case upload.LaneFastAudio:
		return []upload.Stage{upload.StageAudio}, upload.Express
	}
	return nil, 0
}

// Before is the id that a page token of List goes on before: ids rise with time.
func Before(token string) (string, error) {
	last, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", upload.ErrPageToken
	}
	if _, err := id.Parse(string(last)); err != nil {
		return "", upload.ErrPageToken
	}
	return string(last), nil
}

// Page is a page of List, of one upload more than its size where there are any.
func Page(us []upload.Upload, size int) upload.Page {
	if len(us) <= size {
		return upload.Page{Uploads: us}
	}
	return upload.Page{Uploads: us[:size], Next: base64.RawURLEncoding.EncodeToString([]byte(us[size-1].ID))}
}
