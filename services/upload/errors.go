package upload

import (
	"errors"

	"github.com/segue-music/segue/internal/fault"
)

// Errors that callers see, and that every Store returns.
var (
	// ErrNotFound: no such upload, or not the caller's.
	ErrNotFound = fault.New(fault.NotFound, "upload not found")
	// ErrTrackNotFound: no upload makes this track.
	ErrTrackNotFound = fault.New(fault.NotFound, "no upload makes this track")
	// ErrConflict: the upload has another revision than the change was made for, or the
	// lease is no longer held.
	ErrConflict = fault.New(fault.Conflict, "upload has changed meanwhile")
	// ErrExists: an upload or a watched file with this id is there already.
	ErrExists = fault.New(fault.Exists, "upload exists already")
	// ErrQuota: the owner's uploads may not take more space.
	ErrQuota = fault.New(fault.Exhausted, "upload quota is used up")
	// ErrTooManyOpen: the owner has too many unfinished uploads.
	ErrTooManyOpen = fault.New(fault.Exhausted, "too many unfinished uploads")
	// ErrPageToken: the page token is not one of ours.
	ErrPageToken = fault.New(fault.Invalid, "page token is malformed")
	// ErrNotFailed: only a failed upload can be tried again.
	ErrNotFailed = fault.New(fault.Conflict, "upload has not failed")
	// ErrSourceGone: the bytes of the upload are no longer there.
	ErrSourceGone = fault.New(fault.Conflict, "the file is no longer there")
	// ErrNotUploader: the caller's account may not upload.
	ErrNotUploader = fault.New(fault.Denied, "this account may not upload")
	// ErrRefused: the request asks for something that is not offered.
	ErrRefused = fault.New(fault.Invalid, "upload refused")
	// ErrBusy: the bytes are complete, so the upload cannot be withdrawn any more.
	ErrBusy = fault.New(fault.Conflict, "upload is complete and being processed")
	// errUnavailable is what the tus routes say of an internal error.
	errUnavailable = fault.New(fault.Unavailable, "upload is not possible at the moment")
)

// errChanged: the source changed while it was read; its watcher makes a new upload.
var errChanged = errors.New("source changed while it was read")

// rejection ends a job for good. Its text is a sentence for a person and its code a word
// for a program.
type rejection struct {
	code, reason string
	cause        error
}

func (r *rejection) Error() string {
	if r.cause == nil {
		return r.reason
	}
	return r.reason + " (" + r.cause.Error() + ")"
}

func (r *rejection) Unwrap() error { return r.cause }

func reject(code, reason string, cause error) error {
	return &rejection{code: code, reason: reason, cause: cause}
}
