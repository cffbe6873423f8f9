package upload

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/segue-music/segue/internal/blob"
)

// The bytes of an upload lie in the blob staging/<id>, or still in the watched folder.
// A watched file is read in place for its tags. For the decode it is copied into the
// work folder first, and its size and time are checked again after that: what is
// decoded, hashed and published cannot change meanwhile.

func stagingKey(id string) string { return "staging/" + id }

// content is the bytes of an upload for looking at.
type content interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// look opens the bytes where they are.
func (s *Service) look(ctx context.Context, u Upload) (content, error) {
	if u.Source == SourceWatch {
		f, err := s.openWatched(u)
		if err != nil {
			return nil, err
		}
		return sized{f, u.Size}, nil
	}
	o, err := s.Blob.Open(ctx, stagingKey(u.ID))
	if errors.Is(err, blob.ErrNotFound) {
		return nil, reject("gone", "The bytes of the upload are no longer there.", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open staged bytes: %w", err)
	}
	return o, nil
}

type sized struct {
	*os.File
	size int64
}

func (f sized) Size() int64 { return f.size }

// openWatched opens a watched file as it was found; errChanged when it is not so any
// more.
func (s *Service) openWatched(u Upload) (*os.File, error) {
	if s.folder == nil {
		return nil, errors.New("the folder of the file is not watched at the moment")
	}
	f, now, err := s.folder.Open(u.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, reject("gone", "The file is no longer in its folder.", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open watched file: %w", err)
	}
	if now.Size != u.Size || !now.ModTime.Equal(u.ModTime) {
		return nil, errors.Join(fmt.Errorf("open watched file: %w", errChanged), f.Close())
	}
	return f, nil
}

// file gives the bytes as a file that cannot change, for the decoder, and their SHA-256.
// The caller closes it.
func (r *run) file(ctx context.Context) (*os.File, string, error) {
	if filer, ok := r.s.Blob.(blob.Filer); ok && r.u.Source != SourceWatch {
		f, err := filer.OpenFile(ctx, stagingKey(r.u.ID))
		if errors.Is(err, blob.ErrNotFound) {
			return nil, "", reject("gone", "The bytes of the upload are no longer there.", err)
		}
		if err != nil {
			return nil, "", fmt.Errorf("open staged bytes: %w", err)
		}
		return f, r.u.SHA256, nil
	}
	return r.copySource(ctx)
}

// copySource copies the bytes into the work folder.
func (r *run) copySource(ctx context.Context) (*os.File, string, error) {
	src, err := r.s.look(ctx, r.u)
	if err != nil {
		return nil, "", err
	}
	defer src.Close()
	name := filepath.Join(r.workDir(), "source")
	dst, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, "", fmt.Errorf("copy source: %w", err)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(dst, sum), withContext(ctx, io.NewSectionReader(src, 0, src.Size())))
	if err := errors.Join(err, dst.Close()); err != nil {
		return nil, "", fmt.Errorf("copy source: %w", err)
	}
	if n != r.u.Size {
		return nil, "", fmt.Errorf("copy source: %d of %d bytes: %w", n, r.u.Size, errChanged)
	}
	if r.u.Source == SourceWatch {
		again, err := r.s.openWatched(r.u)
		if err != nil {
			return nil, "", fmt.Errorf("look again: %w", err)
		}
		if err := again.Close(); err != nil {
			return nil, "", fmt.Errorf("look again: %w", err)
		}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, "", fmt.Errorf("copy source: %w", err)
	}
	return f, hex.EncodeToString(sum.Sum(nil)), nil
}

// hashAll is the SHA-256 of an upload's bytes, hex.
func (s *Service) hashAll(ctx context.Context, u Upload) (string, error) {
	if u.SHA256 != "" {
		return u.SHA256, nil
	}
	src, err := s.look(ctx, u)
	if err != nil {
		return "", err
	}
	defer src.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, withContext(ctx, io.NewSectionReader(src, 0, src.Size()))); err != nil {
		return "", fmt.Errorf("hash source: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// withContext ends a copy when ctx ends.
func withContext(ctx context.Context, r io.Reader) io.Reader { return ctxReader{ctx, r} }

type ctxReader struct {
	ctx context.Context //nolint:containedctx // lives as long as one copy
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
