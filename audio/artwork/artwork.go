package artwork

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"

	"golang.org/x/image/draw"
	"golang.org/x/image/webp"
)

// The bounds of a source.
const (
	// MaxPixels bounds the size of a picture that is decoded.
	MaxPixels = 25_000_000
	// MaxSide and MinSide bound its width and height, in pixels; no side may be
	// more than MaxAspect times the other.
	MaxSide   = 16384
	MinSide   = 16
	MaxAspect = 8
	// MaxBytes bounds the encoded source.
	MaxBytes = 32 << 20
	// MaxScans bounds the scans of a progressive JPEG: an encoder makes ten or so,
	// and each costs a walk over the whole picture for a few bytes.
	MaxScans = 100

	jpegQuality = 85
)

var (
	// ErrFormat means a picture of no type that is read, or a broken one.
	ErrFormat = errors.New("artwork: not a readable picture")
	// ErrTooLarge means too many pixels or bytes.
	ErrTooLarge = errors.New("artwork: picture is too large")
	// ErrShape means a picture too small or too narrow to be a cover.
	ErrShape = errors.New("artwork: picture has no cover's shape")
)

// Explain says in words for a person what is wrong with a picture that was refused.
func Explain(err error) string {
	switch {
	case errors.Is(err, ErrTooLarge):
		return "it has too many pixels or bytes"
	case errors.Is(err, ErrShape):
		return "it is too small or too narrow"
	}
	return "it is no picture that can be read"
}

// Format is the type of a source, told from its content.
type Format string

// The formats.
const (
	JPEG Format = "jpeg"
	PNG  Format = "png"
	GIF  Format = "gif"
	WebP Format = "webp"
)

// Info is what the header of a picture says.
type Info struct {
	Format        Format
	Width, Height int
}

// Sizes are the widths and heights in pixels that covers are made for.
func Sizes() []int { return []int{160, 320, 640} }

// Inspect reads the header only and checks the bounds. Errors: ErrFormat,
// ErrTooLarge, ErrShape.
func Inspect(b []byte) (Info, error) {
	var info Info
	if len(b) > MaxBytes {
		return info, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	r := bytes.NewReader(b)
	var cfg image.Config
	var err error
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xd8\xff")):
		info.Format = JPEG
		if n := bytes.Count(b, []byte("\xff\xda")); n > MaxScans {
			return info, fmt.Errorf("%w: %d scans", ErrTooLarge, n)
		}
		cfg, err = jpeg.DecodeConfig(r)
	case bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")):
		info.Format = PNG
		cfg, err = png.DecodeConfig(r)
	case bytes.HasPrefix(b, []byte("GIF87a")), bytes.HasPrefix(b, []byte("GIF89a")):
		info.Format = GIF
		cfg, err = gif.DecodeConfig(r)
	case len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WEBP":
		info.Format = WebP
		cfg, err = webp.DecodeConfig(r)
	default:
		return info, fmt.Errorf("%w: unknown type", ErrFormat)
	}
	if err != nil {
		return info, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	info.Width, info.Height = cfg.Width, cfg.Height
	w, h := int64(cfg.Width), int64(cfg.Height)
	switch {
	case w > MaxSide || h > MaxSide || w*h > MaxPixels:
		return info, fmt.Errorf("%w: %d by %d pixels", ErrTooLarge, w, h)
	case w < MinSide || h < MinSide || w > MaxAspect*h || h > MaxAspect*w:
		return info, fmt.Errorf("%w: %d by %d pixels", ErrShape, w, h)
	}
	return info, nil
}

// Cover is a picture made fit to serve.
type Cover struct {
	Source Info
	// Images are JPEGs for Sizes, the smallest first. Each keeps the source's
	// aspect and fits into the square; a source that is smaller is not enlarged,
	// and sizes past the first that holds it whole are left out.
	Images []Image
	Accent Accent
}

// Image is one JPEG.
type Image struct {
	Size          int // of the square, one of Sizes
	Width, Height int
	JPEG          []byte
}

// Make decodes a picture, scales and encodes it. It holds up to four bytes for
// every pixel of the source. Errors: those of Inspect.
func Make(b []byte) (*Cover, error) {
	info, err := Inspect(b)
	if err != nil {
		return nil, err
	}
	src, err := decode(b, info)
	if err != nil {
		return nil, err
	}
	c := &Cover{Source: info}
	largest := fit(src, Sizes()[len(Sizes())-1])
	for _, size := range Sizes() {
		img := fit(largest, size)
		var out bytes.Buffer
		if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: jpegQuality}); err != nil {
			return nil, fmt.Errorf("encode cover: %w", err)
		}
		box := img.Bounds()
		c.Images = append(c.Images, Image{Size: size, Width: box.Dx(), Height: box.Dy(), JPEG: out.Bytes()})
		if max(info.Width, info.Height) <= size {
			break
		}
	}
	c.Accent = FindAccent(largest)
	return c, nil
}

// decode decodes the one picture, or the first frame.
func decode(b []byte, info Info) (image.Image, error) {
	r := bytes.NewReader(b)
	var img image.Image
	var err error
	switch info.Format {
	case JPEG:
		img, err = jpeg.Decode(r)
	case PNG:
		img, err = png.Decode(r)
	case GIF:
		img, err = gif.Decode(r) // the first frame
	case WebP:
		img, err = webp.Decode(r)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	box := img.Bounds()
	if box.Empty() || int64(box.Dx())*int64(box.Dy()) > MaxPixels {
		return nil, fmt.Errorf("%w: %d by %d pixels", ErrFormat, box.Dx(), box.Dy())
	}
	return img, nil
}

// fit scales img down so that it fits into a square of size, over white where
// it is transparent. Nothing is enlarged.
func fit(img image.Image, size int) *image.RGBA {
	box := img.Bounds()
	w, h := box.Dx(), box.Dy()
	if long := max(w, h); long > size {
		w, h = max(w*size/long, 1), max(h*size/long, 1)
	}
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(out, out.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	if w == box.Dx() && h == box.Dy() {
		draw.Draw(out, out.Bounds(), img, box.Min, draw.Over)
	} else {
		draw.CatmullRom.Scale(out, out.Bounds(), img, box, draw.Over, nil)
	}
	return out
}
