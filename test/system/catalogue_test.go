//go:build system

package system

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // what covers are served as
	"image/png"
	"os"
	"os/exec"
	"strings"
	"time"

	"connectrpc.com/connect"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

// catalogue uploads an album with a cover and goes through it as a player does.
func catalogue(d *deployment) {
	admin := d.admin()
	d.must("upload", d.covered("Covered", "The Painted"), "--wait")
	var album *metadatav1.Album
	d.until(15*time.Second, "the album's cover", func() error {
		res, err := admin.Catalogue.ListAlbums(d.Context(), &metadatav1.ListAlbumsRequest{Order: "added"})
		if err != nil {
			return err
		}
		for _, a := range res.GetAlbums() {
			if a.GetTitle() == "The Painted" && a.GetArtwork().GetId() != "" {
				album = a
				return nil
			}
		}
		return errorf("%d albums", len(res.GetAlbums()))
	})
	whole, err := admin.Catalogue.GetAlbum(d.Context(), &metadatav1.GetAlbumRequest{Id: album.GetId()})
	if err != nil || len(whole.GetTracks()) != 1 || whole.GetTracks()[0].GetTitle() != "Covered" {
		d.Fatalf("album: %v %v", whole, err)
	}
	d.heard(whole.GetTracks()[0])
	artist := album.GetCredits()[0].GetArtist()
	of, err := admin.Catalogue.GetArtist(d.Context(), &metadatav1.GetArtistRequest{Id: artist.GetId()})
	if err != nil || of.GetArtist().GetName() != "The Testers" || len(of.GetAlbums()) == 0 {
		d.Errorf("artist: %v %v", of, err)
	}
	all, err := admin.Catalogue.ListArtists(d.Context(), &metadatav1.ListArtistsRequest{})
	if err != nil || all.GetTotal() == 0 {
		d.Errorf("artists: %v %v", all, err)
	}
	_, err = admin.Catalogue.GetArtist(d.Context(), &metadatav1.GetArtistRequest{Id: "nobody"})
	d.wantCode("a malformed id", err, connect.CodeInvalidArgument)
	d.artwork(album.GetArtwork().GetId())
}

// heard looks for what the sound itself tells, and finds the track by it.
func (d *deployment) heard(t *metadatav1.Track) {
	d.Helper()
	f := t.GetFeatures()
	if f.GetVersion() == 0 || f.LoudnessLufs == nil || f.GetLoudnessLufs() > 0 || f.Energy == nil || f.GetSoundEndMs() == 0 {
		d.Fatalf("features: %v", f)
	}
	found := func(terms string) bool {
		out := d.must("tracks", "--json", "--filter", terms)
		if !strings.Contains(out, `"features": {`) && strings.Contains(out, t.GetId()) {
			d.Errorf("no features: %s", out)
		}
		return strings.Contains(out, t.GetId())
	}
	exact := fmt.Sprintf("loudness:%.3f-%.3f energy:<=1", f.GetLoudnessLufs()-0.01, f.GetLoudnessLufs()+0.01)
	if !found(exact) || found(exact+" loudness:>0") {
		d.Errorf("the track is not found by %q, or by more than holds", exact)
	}
	if _, told, err := d.ctl("", "tracks", "--filter", "tempo:fast"); err == nil || !strings.Contains(told, "bpm:120-128") {
		d.Errorf("a filter that cannot be read: %v, %s", err, told)
	}
}

// covered makes a track with a cover in it.
func (d *deployment) covered(title, album string) string {
	d.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 800, 800))
	for y := range 800 {
		for x := range 800 {
			img.Set(x, y, color.RGBA{uint8(x / 4), uint8(y / 4), 90, 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		d.Fatal(err)
	}
	picture := d.file("cover.png")
	if err := os.WriteFile(picture, b.Bytes(), 0o600); err != nil {
		d.Fatal(err)
	}
	plain := d.noise("uncovered.flac", 3, 7)
	out := d.file(strings.ReplaceAll(title, " ", "-") + ".flac")
	args := append([]string{"-v", "error", "-y", "-i", plain, "-i", picture, "-map", "0:a", "-map", "1:v", "-c:v", "copy", "-disposition:v", "attached_pic"}, tags(title, album)...)
	if b, err := exec.Command("ffmpeg", append(args, out)...).CombinedOutput(); err != nil {
		d.Fatalf("ffmpeg: %v\n%s", err, b)
	}
	return out
}

// artwork reads a cover as an <img> does: without a token, and to be kept for ever.
func (d *deployment) artwork(id string) {
	d.Helper()
	for _, size := range []int{160, 320, 640} {
		status, header, body := d.get(fmt.Sprintf("/artwork/%s/%d", id, size))
		if status != 200 || header.Get("Content-Type") != "image/jpeg" || !strings.Contains(header.Get("Cache-Control"), "immutable") {
			d.Errorf("cover of %d: status %d, %v", size, status, header)
			continue
		}
		img, kind, err := image.Decode(bytes.NewReader(body))
		if err != nil || kind != "jpeg" || img.Bounds().Dx() != size {
			d.Errorf("cover of %d: %s %v", size, kind, err)
		}
	}
	for _, path := range []string{"/artwork/" + id + "/161", "/artwork/" + strings.Repeat("0", len(id)) + "/160"} {
		if status, _, _ := d.get(path); status != 404 {
			d.Errorf("%s: status %d", path, status)
		}
	}
}
