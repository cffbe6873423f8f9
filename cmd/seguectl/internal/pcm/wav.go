package pcm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
)

// Wav writes a RIFF WAVE file.
type Wav struct {
	f      *os.File
	bytes  uint64
	header uint64 // bytes that the header in the file speaks of
}

const (
	wavHeader = 44
	// wavMost is what the 32 bit sizes of the format can count.
	wavMost = math.MaxUint32 - wavHeader
	// wavEvery is how many bytes are written before the header is corrected: 5 s. A file
	// whose writer was killed plays as far as that.
	wavEvery = 5 * Rate * FrameSize
)

// ErrWavFull says that a WAV file cannot grow further: 4 GiB, or 6 hours and 45 minutes.
var ErrWavFull = errors.New("a wav file cannot be larger than 4 GiB")

// CreateWav makes the file, or empties it.
func CreateWav(path string) (*Wav, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("create wav: %w", err)
	}
	w := &Wav{f: f}
	if err := w.patch(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.Seek(wavHeader, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("create wav: %w", err), f.Close())
	}
	return w, nil
}

// Write implements Sink.
func (w *Wav) Write(p []byte) (int, error) {
	if w.bytes+uint64(len(p)) > wavMost {
		return 0, ErrWavFull
	}
	n, err := w.f.Write(p)
	w.bytes += uint64(n)
	if err != nil {
		return n, fmt.Errorf("write %s: %w", filepath.Base(w.f.Name()), err)
	}
	if w.bytes-w.header >= wavEvery {
		return n, w.patch()
	}
	return n, nil
}

// Close makes the header right and closes the file.
func (w *Wav) Close() error { return errors.Join(w.patch(), w.f.Close()) }

func (w *Wav) patch() error {
	whole := w.bytes - w.bytes%FrameSize // a write that failed may have left half a frame
	h := make([]byte, 0, wavHeader)
	h = append(h, "RIFF"...)
	h = binary.LittleEndian.AppendUint32(h, uint32(whole+wavHeader-8))
	h = append(h, "WAVEfmt "...)
	h = binary.LittleEndian.AppendUint32(h, 16) // bytes of the format
	h = binary.LittleEndian.AppendUint16(h, 1)  // PCM
	h = binary.LittleEndian.AppendUint16(h, Channels)
	h = binary.LittleEndian.AppendUint32(h, Rate)
	h = binary.LittleEndian.AppendUint32(h, Rate*FrameSize)
	h = binary.LittleEndian.AppendUint16(h, FrameSize)
	h = binary.LittleEndian.AppendUint16(h, 16) // bits of a sample
	h = append(h, "data"...)
	h = binary.LittleEndian.AppendUint32(h, uint32(whole))
	if _, err := w.f.WriteAt(h, 0); err != nil {
		return fmt.Errorf("write wav header: %w", err)
	}
	w.header = w.bytes
	return nil
}
