package artwork_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/audio/artwork"
)

// picture is w by h pixels: background, with a block of fg over share of it.
func picture(w, h int, bg, fg color.RGBA, share float64) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := bg
			if float64(y) < share*float64(h) {
				c = fg
			}
			img.SetRGBA(x, y, c)
		}
	}
	return img
}

func encodePNG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func encodeJPEG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// encodeGIF makes two frames; the first is fg.
func encodeGIF(t testing.TB, w, h int, fg color.RGBA) []byte {
	t.Helper()
	frame := func(c color.Color) *image.Paletted {
		return image.NewPaletted(image.Rect(0, 0, w, h), color.Palette{c, color.Black})
	}
	var b bytes.Buffer
	g := &gif.GIF{Image: []*image.Paletted{frame(fg), frame(color.White)}, Delay: []int{1, 1}}
	if err := gif.EncodeAll(&b, g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// encodeWebP has ffmpeg do it, since Go has no encoder.
func encodeWebP(t testing.TB, in []byte) []byte {
	t.Helper()
	cmd := exec.Command("ffmpeg", "-v", "error", "-f", "png_pipe", "-i", "pipe:0", "-c:v", "libwebp", "-f", "webp", "pipe:1")
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg (a requirement of Segue): %v", err)
	}
	return out
}

// hugePNG claims w by h pixels in a header of 33 bytes.
func hugePNG(w, h uint32) []byte {
	b := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR")
	b = binary.BigEndian.AppendUint32(b, w)
	b = binary.BigEndian.AppendUint32(b, h)
	b = append(b, 8, 2, 0, 0, 0)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[12:]))
}

// webpPixel is a WebP of one pixel, to tell the type and the bounds.
const webpPixel = "UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA"

func rgb(r, g, b uint8) color.RGBA { return color.RGBA{r, g, b, 255} }

func TestMake(t *testing.T) {
	type dims struct{ Size, W, H int }
	red := rgb(200, 30, 40)
	tests := []struct {
		name string
		in   []byte
		want artwork.Format
		dims []dims
	}{
		{"large_png", encodePNG(t, picture(1000, 1000, red, red, 1)), artwork.PNG, []dims{{160, 160, 160}, {320, 320, 320}, {640, 640, 640}}},
		{"wide_jpeg", encodeJPEG(t, picture(1200, 600, red, red, 1)), artwork.JPEG, []dims{{160, 160, 80}, {320, 320, 160}, {640, 640, 320}}},
		{"small_gif", encodeGIF(t, 100, 90, red), artwork.GIF, []dims{{160, 100, 90}}},
		{"webp", encodeWebP(t, encodePNG(t, picture(200, 200, red, red, 1))), artwork.WebP, []dims{{160, 160, 160}, {320, 200, 200}}},
		{"medium_png", encodePNG(t, picture(300, 300, red, red, 1)), artwork.PNG, []dims{{160, 160, 160}, {320, 300, 300}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := artwork.Make(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			var got []dims
			for _, i := range c.Images {
				got = append(got, dims{i.Size, i.Width, i.Height})
				img, err := jpeg.Decode(bytes.NewReader(i.JPEG))
				if err != nil || img.Bounds().Dx() != i.Width || img.Bounds().Dy() != i.Height {
					t.Errorf("size %d: %v, %v", i.Size, err, img.Bounds())
				}
				r, g, b, _ := img.At(i.Width/2, i.Height/2).RGBA()
				if r>>8 < 180 || g>>8 > 60 || b>>8 > 70 {
					t.Errorf("size %d: colour %d %d %d", i.Size, r>>8, g>>8, b>>8)
				}
			}
			if diff := cmp.Diff(tt.dims, got); diff != "" {
				t.Error(diff)
			}
			if c.Source.Format != tt.want || !c.Accent.Coloured {
				t.Errorf("%+v, %+v", c.Source, c.Accent)
			}
		})
	}
}

func TestMake_transparent(t *testing.T) {
	c, err := artwork.Make(encodePNG(t, image.NewNRGBA(image.Rect(0, 0, 64, 64))))
	if err != nil || c.Accent.Mean != [3]uint8{255, 255, 255} {
		t.Errorf("%v, %+v", err, c)
	}
}

func TestMake_bad(t *testing.T) {
	webp, err := base64.StdEncoding.DecodeString(webpPixel)
	if err != nil {
		t.Fatal(err)
	}
	good := encodePNG(t, picture(64, 64, rgb(1, 2, 3), rgb(1, 2, 3), 0))
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"empty", nil, artwork.ErrFormat},
		{"svg", []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`), artwork.ErrFormat},
		{"svg_behind_xml", []byte(`<?xml version="1.0"?><svg/>`), artwork.ErrFormat},
		{"html", []byte("<html>"), artwork.ErrFormat},
		{"bomb", hugePNG(60000, 60000), artwork.ErrTooLarge},
		{"26_megapixels", hugePNG(5200, 5000), artwork.ErrTooLarge},
		{"overflow", hugePNG(1<<31-1, 1<<31-1), artwork.ErrFormat},
		{"ribbon", hugePNG(4000, 20), artwork.ErrShape},
		{"tiny_webp", webp, artwork.ErrShape},
		{"cut_off", good[:len(good)/2], artwork.ErrFormat},
		{"header_only", hugePNG(500, 500), artwork.ErrFormat},
		{"too_many_scans", append([]byte("\xff\xd8\xff"), bytes.Repeat([]byte("\xff\xda"), artwork.MaxScans+1)...), artwork.ErrTooLarge},
		{"too_many_bytes", append([]byte("\xff\xd8\xff"), make([]byte, artwork.MaxBytes)...), artwork.ErrTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := artwork.Make(tt.in); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestFindAccent(t *testing.T) {
	grey, black := rgb(128, 128, 128), rgb(0, 0, 0)
	tests := []struct {
		name        string
		img         image.Image
		hue, chroma float64
		coloured    bool
	}{
		// OKLCH of the sRGB primaries, as CSS Color 4 gives them.
		{"red", picture(100, 100, rgb(255, 0, 0), black, 0), 29.23, 0.2577, true},
		{"green", picture(100, 100, rgb(0, 255, 0), black, 0), 142.5, 0.2948, true},
		{"blue", picture(100, 100, rgb(0, 0, 255), black, 0), 264.05, 0.3132, true},
		{"tenth_of_red", picture(480, 480, grey, rgb(255, 0, 0), 0.1), 29.23, 0.2577, true},
		{"hundredth_of_red", picture(480, 480, grey, rgb(255, 0, 0), 0.02), 0, 0, false},
		{"grey", picture(50, 50, grey, grey, 0), 0, 0, false},
		{"black", picture(50, 50, black, black, 0), 0, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := artwork.FindAccent(tt.img)
			if a.Coloured != tt.coloured || math.Abs(a.Hue-tt.hue) > 3 || math.Abs(a.Chroma-tt.chroma) > 0.03 {
				t.Errorf("%+v", a)
			}
			b := a.Bytes()
			if (b != [2]uint8{}) != tt.coloured {
				t.Errorf("bytes %v", b)
			}
			if tt.coloured && math.Abs(float64(b[0])*360/256-tt.hue) > 3 {
				t.Errorf("bytes %v", b)
			}
		})
	}
}

func FuzzMake(f *testing.F) {
	red := rgb(200, 30, 40)
	img := picture(20, 20, red, red, 1)
	f.Add(encodePNG(f, img))
	f.Add(encodeJPEG(f, img))
	f.Add(encodeGIF(f, 20, 20, red))
	f.Add(hugePNG(20, 20))
	if b, err := base64.StdEncoding.DecodeString(webpPixel); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// Big pictures are allowed and only slow the fuzzer down.
		if info, err := artwork.Inspect(b); err != nil || info.Width*info.Height > 1<<16 {
			return
		}
		c, err := artwork.Make(b)
		if err != nil {
			return
		}
		if len(c.Images) == 0 {
			t.Error("no image")
		}
	})
}
