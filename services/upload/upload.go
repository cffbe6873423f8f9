// Package upload takes audio files in and makes them into sealed renditions.
//
// Files come from two sources: resumable uploads by the tus protocol under
// /upload/v1/files/, and a watched folder. Each becomes an Upload, which is at the same
// time the durable job that works on it. The stages of a job are
//
//	tags   the content is recognised and its tags go to metadata: the track shows
//	cover  the front cover is made fit to serve
//	audio  one sandboxed decode makes what is measured and the renditions; each is
//	       sealed, stored, its key given to playback, and published by metadata
//	tell   metadata is told that a track could not be made
//
// Every stage may be repeated from its beginning at any time: what is done is found
// done, in the store or at the service that owns the fact.
package upload

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/segue-music/segue/audio/ffmpeg"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
)

// State is how far an upload is.
type State = uploadv1.UploadState

// The states.
const (
	Receiving  = uploadv1.UploadState_UPLOAD_STATE_RECEIVING
	Queued     = uploadv1.UploadState_UPLOAD_STATE_QUEUED
	Processing = uploadv1.UploadState_UPLOAD_STATE_PROCESSING
	Playable   = uploadv1.UploadState_UPLOAD_STATE_PLAYABLE
	Complete   = uploadv1.UploadState_UPLOAD_STATE_COMPLETE
	Failed     = uploadv1.UploadState_UPLOAD_STATE_FAILED
	Duplicate  = uploadv1.UploadState_UPLOAD_STATE_DUPLICATE
)

// stateName is the state as events have it: "queued".
func stateName(s State) string {
	if s == uploadv1.UploadState_UPLOAD_STATE_UNSPECIFIED {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(s.String(), "UPLOAD_STATE_"))
}

// Sources of uploads.
const (
	SourceTus    = "tus"
	SourceWatch  = "watch"
	SourceBucket = "bucket"
)

// Stage is what is to be done next for an upload.
type Stage uint8

// The stages. StageNone is nothing: bytes are arriving still, or all is done.
const (
	StageNone Stage = iota
	StageTags
	StageCover
	StageAudio
	StageTell
)

// Priorities of a job. Express is for a track that someone wants to hear now.
const (
	Normal  = 0
	Express = 10
)

// Upload is one file on its way to sound, and its job.
type Upload struct {
	ID, OwnerID string
	// Source is tus, watch or bucket; FileName is cleaned and for display only.
	Source, FileName string
	// Path is that of a watched file inside its folder, byte for byte.
	Path string
	// ModTime is that of a watched file when it was found.
	ModTime time.Time
	// Size and Received are in bytes.
	Size, Received int64
	State          State
	// TrackID is set from the tags stage on.
	TrackID string
	// Trace is the span that began it, or its repeat, as a W3C traceparent: its jobs go on
	// with it, and its events name it. Empty for what is older than this field.
	Trace string
	// Reason is a sentence for a person, Step the step in work or the last one.
	Reason, Step string
	// Progress of the whole job in thousandths.
	Progress uint32
	// Attempts counts failures since the job was last put into the queue.
	Attempts uint32
	// Similar are tracks that a fingerprint resembles.
	Similar          []string
	Created, Updated time.Time
	// Revision counts the changes, from 1.
	Revision uint64

	// SHA256 of the bytes, hex, once known; Quick is a hash of some of them.
	SHA256, Quick string
	// Staged says that the blob staging/<ID> holds the bytes.
	Staged bool
	// Supersedes is the upload whose track a changed file renews; Generation counts
	// such renewals from 1 and is the key id of what is sealed.
	Supersedes string
	Generation uint64

	// Stage, Priority and RunAt (not before) are the job.
	Stage    Stage
	Priority int
	RunAt    time.Time
	// Lease names the claim under which a worker holds the job; only Claim sets it.
	Lease string

	Facts Facts
}

// Facts are what the stages found out.
type Facts struct {
	// DurationMS is as the headers say; Estimated tells that they do not say it exactly.
	DurationMS uint64 `json:"duration_ms,omitempty"`
	Estimated  bool   `json:"estimated,omitempty"`
	// Samples at 44.1 kHz, loudness (LUFS), true peak (share of full scale) and the
	// SHA-256 of the decoded PCM, hex; set by the first decode.
	Samples    uint64  `json:"samples,omitempty"`
	Integrated float64 `json:"integrated,omitempty"`
	TruePeak   float64 `json:"true_peak,omitempty"`
	PCM        string  `json:"pcm,omitempty"`
	// Features are an AudioFeatures of metadata in JSON, of the same decode.
	Features json.RawMessage `json:"features,omitempty"`
	// Compared says that the fingerprint was compared with those of all other tracks.
	Compared bool `json:"compared,omitempty"`
	// Files are renditions that lie encoded in the work folder and are not sealed yet.
	Files []RenditionFile `json:"files,omitempty"`
}

// RenditionFile is an encoded rendition in the work folder.
type RenditionFile struct {
	Kbps   int    `json:"kbps"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// ObjectState is how far a sealed object is.
type ObjectState uint8

// The states of objects. A sealed one may or may not have been published; a retired one
// was replaced and is deleted after a while.
const (
	ObjectSealed ObjectState = iota + 1
	ObjectPublished
	ObjectRetired
)

// Object is a sealed rendition in the blob store. Its key is in no store of this service.
type Object struct {
	ID       string // 32 hex digits
	UploadID string
	TrackID  string
	Kbps     int
	State    ObjectState
	At       time.Time // when it came into this state
}

// Print is the fingerprint of a track, and the hash of its PCM.
type Print struct {
	TrackID, OwnerID, PCM string
	Items                 []uint32
	// Terms are what prints are found by: see measure.Sketch.
	Terms []uint32
}

// WatchedFile is a file of a watched folder that has become an upload.
type WatchedFile struct {
	Folder, Path string
	Size         int64
	ModTime      time.Time
	// Device and Inode are 0 where the system has none.
	Device, Inode uint64
	UploadID      string
}

// order is the order in which renditions are sealed: the one that playback starts with
// first.
func order() []ffmpeg.Rendition {
	return []ffmpeg.Rendition{ffmpeg.Vorbis96, ffmpeg.Vorbis160, ffmpeg.Vorbis320, ffmpeg.Vorbis24}
}
