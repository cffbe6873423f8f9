package postgres

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/segue-music/segue/internal/pgdb"
	"github.com/segue-music/segue/internal/unixtime"
	"github.com/segue-music/segue/services/upload"
	"github.com/segue-music/segue/services/upload/row"
)

func saveObjects(b *pgx.Batch, c upload.Change) {
	for _, o := range c.Objects {
		b.Queue(`INSERT INTO objects (`+row.Object+`) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (id) DO UPDATE SET upload_id = excluded.upload_id, track_id = excluded.track_id,
			kbps = excluded.kbps, state = excluded.state, at_ms = excluded.at_ms`, row.OfObject(o)...)
	}
	if c.RetireOthers {
		b.Queue(`UPDATE objects SET state = $1, at_ms = $2 WHERE track_id = $3 AND upload_id <> $4 AND state = $5`,
			int64(upload.ObjectRetired), unixtime.Milli(c.Upload.Updated), c.Upload.TrackID, c.Upload.ID, int64(upload.ObjectPublished))
	}
}

const (
	selectObjects  = `SELECT ` + row.Object + ` FROM objects `
	objectsOf      = selectObjects + `WHERE upload_id = $1 ORDER BY kbps, id`
	staleObjects   = selectObjects + `WHERE state = $1 AND at_ms < $2 ORDER BY at_ms, id LIMIT $3`
	watchedOnwards = `SELECT ` + row.Watched + ` FROM watched WHERE folder = $1 AND path > $2 ORDER BY path LIMIT $3`
)

// Objects implements [upload.Store].
func (s *Store) Objects(ctx context.Context, uploadID string) ([]upload.Object, error) {
	return query(ctx, s, row.ScanObject, "list objects", objectsOf, uploadID)
}

// StaleObjects implements [upload.Store].
func (s *Store) StaleObjects(ctx context.Context, state upload.ObjectState, before time.Time, limit int) ([]upload.Object, error) {
	return query(ctx, s, row.ScanObject, "list objects", staleObjects, int64(state), unixtime.Milli(before), limit)
}

// DropObject implements [upload.Store].
func (s *Store) DropObject(ctx context.Context, objectID string) error {
	_, err := s.exec(ctx, "drop object", `DELETE FROM objects WHERE id = $1`, objectID)
	return err
}

// savePrint replaces the print of a track, and then its terms.
func savePrint(b *pgx.Batch, p upload.Print) {
	b.Queue(`INSERT INTO prints (`+row.Print+`) VALUES ($1, $2, $3, $4)
		ON CONFLICT (track_id) DO UPDATE SET owner_id = excluded.owner_id, pcm = excluded.pcm, items = excluded.items`, row.OfPrint(p)...)
	b.Queue(`DELETE FROM print_terms WHERE n = (SELECT n FROM prints WHERE track_id = $1)`, p.TrackID)
	b.Queue(`INSERT INTO print_terms (term, n) SELECT term, n FROM prints, unnest($2::bigint[]) AS term WHERE track_id = $1
		ON CONFLICT DO NOTHING`, p.TrackID, row.Terms(p))
}

// Print implements [upload.Store].
func (s *Store) Print(ctx context.Context, trackID string) (upload.Print, error) {
	return one(ctx, s, row.ScanPrint, "get print", `SELECT `+row.Print+` FROM prints WHERE track_id = $1`, trackID)
}

// similar finds prints by their terms. An equal hash of the PCM counts for more than any
// share of terms.
const similar = `WITH found (n, score) AS (
		SELECT n, count(*) FROM print_terms WHERE term = ANY ($1::bigint[]) GROUP BY n HAVING count(*) >= $2
		UNION ALL SELECT n, 1000000 FROM prints WHERE pcm = $3 AND pcm <> ''
	)
	SELECT ` + row.Print + ` FROM prints JOIN (SELECT n, max(score) AS score FROM found GROUP BY n) AS best USING (n)
	WHERE track_id <> $4 ORDER BY score DESC, n LIMIT $5`

// SimilarPrints implements [upload.Store].
func (s *Store) SimilarPrints(ctx context.Context, p upload.Print, share, limit int) ([]upload.Print, error) {
	return query(ctx, s, row.ScanPrint, "find similar prints", similar, row.Terms(p), share, p.PCM, p.TrackID, limit)
}

const putWatched = `INSERT INTO watched (` + row.Watched + `) VALUES ($1, $2, $3, $4, $5, $6, $7)
	ON CONFLICT (folder, path) DO UPDATE SET size = excluded.size, mod_ns = excluded.mod_ns,
	device = excluded.device, inode = excluded.inode, upload_id = excluded.upload_id`

// watchedPage bounds the files that are held while the caller looks at them.
const watchedPage = 1000

// WatchedFiles implements [upload.Store]. It reads page by page, so that a caller who
// takes long over a file keeps no connection.
func (s *Store) WatchedFiles(ctx context.Context, folder string) iter.Seq2[upload.WatchedFile, error] {
	return func(yield func(upload.WatchedFile, error) bool) {
		for after := ""; ; {
			page, err := query(ctx, s, row.ScanWatched, "list watched files", watchedOnwards, folder, []byte(after), watchedPage)
			if err != nil {
				yield(upload.WatchedFile{}, err)
				return
			}
			for _, f := range page {
				if after = f.Path; !yield(f, nil) {
					return
				}
			}
			if len(page) < watchedPage {
				return
			}
		}
	}
}

// MoveWatched implements [upload.Store].
func (s *Store) MoveWatched(ctx context.Context, folder, from, to string) error {
	err := s.db.Write(ctx, func(tx *pgdb.Tx) error {
		var b pgx.Batch
		b.Queue(`DELETE FROM watched WHERE folder = $1 AND path = $2`, folder, []byte(to))
		b.Queue(`UPDATE watched SET path = $3 WHERE folder = $1 AND path = $2`, folder, []byte(from), []byte(to))
		// A job that has not read its file yet has to find it.
		b.Queue(`UPDATE uploads SET path = $2, revision = revision + 1
			WHERE id = (SELECT upload_id FROM watched WHERE folder = $1 AND path = $2)`, folder, []byte(to))
		return tx.Batch(ctx, &b)
	})
	if err != nil {
		return fmt.Errorf("move watched file: %w", err)
	}
	return nil
}
