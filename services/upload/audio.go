package upload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/segue-music/segue/audio/ffmpeg"
	"github.com/segue-music/segue/audio/fingerprint"
	"github.com/segue-music/segue/audio/loudness"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/internal/span"
	"github.com/segue-music/segue/services/upload/measure"
)

// audio makes and publishes the renditions that are missing: all of one decode, or for a
// track that someone waits for 96 kbit/s alone first.
func (r *run) audio(ctx context.Context) error {
	r.enter("transcode")
	if err := os.MkdirAll(r.workDir(), 0o700); err != nil {
		return fmt.Errorf("make work folder: %w", err)
	}
	done, err := r.adopt(ctx)
	if err != nil {
		return err
	}
	missing := slices.DeleteFunc(order(), func(x ffmpeg.Rendition) bool { return done[x.Kbps()] })
	if len(missing) == 0 {
		return r.complete(ctx)
	}
	if err := r.save(ctx, func(d *draft) error {
		d.Upload.Step = r.step
		if d.Upload.State == Queued {
			d.Upload.State = Processing
		}
		return nil
	}); err != nil {
		return err
	}
	if r.u.Supersedes != "" && r.u.Facts.PCM == "" {
		if same, err := r.sameSound(ctx); err != nil || same {
			return err
		}
	}
	todo := missing
	if r.u.Priority >= Express && len(done) == 0 {
		todo = []ffmpeg.Rendition{ffmpeg.Vorbis96}
	}
	if !r.ready(todo) {
		if err := r.transcode(ctx, todo); err != nil {
			return err
		}
	}
	if err := r.tellFacts(ctx); err != nil {
		return err
	}
	for _, x := range todo {
		if err := r.publish(ctx, x); err != nil {
			return err
		}
	}
	if err := r.compare(ctx); err != nil {
		return err
	}
	if len(todo) < len(missing) {
		// The rest takes its turn behind others that someone may be waiting for.
		return r.settle(ctx, func(d *draft) error {
			d.Upload.Priority, d.Upload.Step, d.Upload.RunAt = Normal, "transcode", r.s.Now().UTC()
			return nil
		})
	}
	return r.complete(ctx)
}

func (r *run) complete(ctx context.Context) error {
	if err := r.settle(ctx, func(d *draft) error {
		u := &d.Upload
		u.State, u.Stage, u.Step, u.Reason = Complete, StageNone, "", ""
		u.Progress, u.Attempts, u.Priority, u.Facts.Files = 1000, 0, Normal, nil
		d.RetireOthers = u.Supersedes != ""
		return nil
	}); err != nil {
		return err
	}
	r.s.tidy(ctx, r.u)
	return nil
}

// ready reports whether the renditions lie encoded in the work folder, from an attempt
// that got no further. Their hashes are checked when they are sealed.
func (r *run) ready(todo []ffmpeg.Rendition) bool {
	for _, x := range todo {
		f, ok := r.u.Facts.file(x)
		if !ok {
			return false
		}
		if info, err := os.Stat(r.oggPath(x)); err != nil || info.Size() != f.Size {
			return false
		}
	}
	return r.u.Facts.PCM != ""
}

func (f Facts) file(x ffmpeg.Rendition) (RenditionFile, bool) {
	i := slices.IndexFunc(f.Files, func(rf RenditionFile) bool { return rf.Kbps == x.Kbps() })
	if i < 0 {
		return RenditionFile{}, false
	}
	return f.Files[i], true
}

// transcode decodes once: into the renditions and, the first time, through the taps.
func (r *run) transcode(ctx context.Context, todo []ffmpeg.Rendition) error {
	out, err := newOutputs(r, todo)
	if err != nil {
		return err
	}
	defer out.close()
	res, found, sum, err := r.decodeOrRepair(ctx, out.list)
	if err != nil {
		return err
	}
	files, err := out.commit()
	if err != nil {
		return err
	}
	return r.save(ctx, func(d *draft) error {
		u := &d.Upload
		u.Facts.Files, u.Progress, u.SHA256 = files, max(u.Progress, 900), sum
		d.emit(r.done(res.CPU))
		return r.learn(d, res, found)
	})
}

// decode runs the sandboxed decoder. found is nil when the facts are known already.
func (r *run) decode(ctx context.Context, src *os.File, outputs []ffmpeg.Output) (_ *ffmpeg.Result, _ *measure.Findings, err error) {
	ctx, sp := span.Start(ctx, "decode and encode")
	defer func() { span.End(sp, err) }()
	base := r.u.Progress
	pcm := &measure.Fan{Expect: time.Duration(r.u.Facts.DurationMS) * time.Millisecond, Tell: func(milli uint32) {
		r.s.hub.progress(r.u.ID, max(base, 40+milli*86/100))
	}}
	if r.u.Facts.PCM == "" {
		for _, make := range r.s.taps {
			pcm.Taps = append(pcm.Taps, make(ctx))
		}
	}
	res, err := r.s.FFmpeg.Transcode(ctx, ffmpeg.Job{Source: src, PCM: pcm, Outputs: outputs, Expect: r.u.Facts.expected()})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("transcode: %w", err), pcm.Finish(nil))
	}
	if r.u.Facts.PCM != "" {
		return res, nil, nil
	}
	found := &measure.Findings{}
	if err := pcm.Finish(found); err != nil {
		if errors.Is(err, fingerprint.ErrFpcalc) {
			// Sound without a fingerprint plays as well.
			r.s.Log.WarnContext(ctx, "no fingerprint", "upload", r.u.ID, "err", err)
		} else {
			return nil, nil, fmt.Errorf("measure: %w", err)
		}
	}
	return res, found, nil
}

// learn puts what a decode found into a change.
func (r *run) learn(d *draft, res *ffmpeg.Result, found *measure.Findings) error {
	if found == nil {
		return nil
	}
	u := &d.Upload
	var err error
	if u.Facts.Features, err = packFeatures(features(&found.Analysis, found.Loudness)); err != nil {
		return err
	}
	u.Facts.Samples, u.Facts.PCM = res.Samples, found.PCM
	u.Facts.Integrated, u.Facts.TruePeak = found.Loudness.Integrated, found.Loudness.TruePeak
	d.Print = &Print{TrackID: u.TrackID, OwnerID: u.OwnerID, PCM: found.PCM, Items: found.Print, Terms: measure.Sketch(found.Print)}
	return nil
}

// tellFacts gives metadata the exact length, the loudness and what the sound is like, before
// anything plays.
func (r *run) tellFacts(ctx context.Context) error {
	f := r.u.Facts
	heard, err := unpackFeatures(f.Features)
	if err != nil {
		return err
	}
	req := &metadatav1.SetTrackFactsRequest{
		TrackId: r.u.TrackID, DurationMs: (f.Samples*1000 + ffmpeg.PCMRate/2) / ffmpeg.PCMRate,
		GainTrackQ8: int32(loudness.ToQ8(loudness.Gain(f.Integrated))), PeakQ8: int32(loudness.ToQ8(loudness.PeakDB(f.TruePeak))),
		Features: heard,
	}
	if _, err := within(ctx, r.s.Metadata.SetTrackFacts, req); err != nil {
		return fmt.Errorf("set track facts: %w", err)
	}
	return nil
}

// sameSound decides whether a new version of a file has the sound of the one before, as
// after its tags were edited: the renditions then stay as they are.
func (r *run) sameSound(ctx context.Context) (bool, error) {
	before, err := r.s.Store.Get(ctx, r.u.Supersedes)
	if err != nil {
		return false, err
	}
	objects, err := r.s.Store.Objects(ctx, before.ID)
	if err != nil {
		return false, err
	}
	kept := published(objects)
	if before.Facts.PCM == "" || len(kept) != len(order()) {
		return false, nil
	}
	res, found, sum, err := r.decodeOrRepair(ctx, nil)
	if err != nil {
		return false, err
	}
	if found.PCM != before.Facts.PCM {
		return false, r.save(ctx, func(d *draft) error {
			d.Upload.SHA256 = sum
			return r.learn(d, res, found)
		})
	}
	if err := r.settle(ctx, func(d *draft) error {
		u := &d.Upload
		u.Facts, u.SHA256 = before.Facts, sum
		u.State, u.Stage, u.Step, u.Progress, u.Attempts, u.Facts.Files = Complete, StageNone, "", 1000, 0, nil
		for _, o := range kept {
			o.UploadID, o.At = u.ID, r.s.Now().UTC()
			d.Objects = append(d.Objects, o)
		}
		d.emit(r.done(res.CPU))
		return nil
	}); err != nil {
		return false, err
	}
	r.s.tidy(ctx, r.u)
	return true, nil
}

// maxSimilar bounds the proposals for one track.
const maxSimilar = 10

// compare proposes tracks that sound alike. Nothing is linked by itself, and no object is
// shared: an object belongs to one track, to which playback bound its key.
func (r *run) compare(ctx context.Context) error {
	if r.u.Facts.Compared {
		return nil
	}
	r.enter("fingerprint")
	ours, err := r.s.Store.Print(ctx, r.u.TrackID)
	if err != nil {
		return err
	}
	ours.Terms = measure.Sketch(ours.Items)
	others, err := r.s.Store.SimilarPrints(ctx, ours, measure.SketchShare, 2*maxSimilar)
	if err != nil {
		return err
	}
	var similar []string
	var proposals []*eventv1.DuplicateProposed
	for _, o := range others {
		equal := o.PCM == ours.PCM
		score := fingerprint.Compare(ours.Items, o.Items).Score
		if equal {
			score = 1
		}
		if score < fingerprint.Similar || len(similar) == maxSimilar {
			continue
		}
		similar = append(similar, o.TrackID)
		proposals = append(proposals, &eventv1.DuplicateProposed{
			TrackId: r.u.TrackID, OtherTrackId: o.TrackID, Score: score, EqualPcm: equal,
		})
	}
	return r.save(ctx, func(d *draft) error {
		d.Upload.Facts.Compared, d.Upload.Similar = true, similar
		for _, p := range proposals {
			d.emit(p)
		}
		d.emit(r.done(0))
		return nil
	})
}
