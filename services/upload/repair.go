package upload

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/segue-music/segue/audio/ffmpeg"
	"github.com/segue-music/segue/audio/ogg"
	"github.com/segue-music/segue/services/upload/measure"
)

// decodeOrRepair decodes the source; where the decoder refuses it as no audio and it is
// an Ogg Vorbis stream that a bad tagger left behind, it decodes a mended copy.
func (r *run) decodeOrRepair(ctx context.Context, outputs []ffmpeg.Output) (*ffmpeg.Result, *measure.Findings, string, error) {
	src, sum, err := r.file(ctx)
	if err != nil {
		return nil, nil, "", err
	}
	defer src.Close()
	res, found, err := r.decode(ctx, src, outputs)
	if !errors.Is(err, ffmpeg.ErrNotAudio) {
		return res, found, sum, err
	}
	mended, repairErr := r.repair(src)
	if repairErr != nil {
		return nil, nil, "", err // of the original: that is what a person has
	}
	defer mended.Close()
	res, found, again := r.decode(ctx, mended, outputs)
	if errors.Is(again, ffmpeg.ErrNotAudio) {
		again = err
	}
	return res, found, sum, again
}

// repair writes a mended copy into the work folder and opens it for reading.
func (r *run) repair(src *os.File) (*os.File, error) {
	info, err := src.Stat()
	if err != nil {
		return nil, fmt.Errorf("repair source: %w", err)
	}
	name := filepath.Join(r.workDir(), "repaired.ogg")
	dst, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("repair source: %w", err)
	}
	w := bufio.NewWriterSize(dst, 64<<10)
	err = ogg.Repair(w, bufio.NewReaderSize(io.NewSectionReader(src, 0, info.Size()), 64<<10))
	if err := errors.Join(err, w.Flush(), dst.Close()); err != nil {
		return nil, fmt.Errorf("repair source: %w", err)
	}
	return os.Open(name)
}
