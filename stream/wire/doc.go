// Package wire holds the frames of the streaming protocol segue/1: their bytes,
// their bounds and their error codes. docs/protocol/segue-1.md is the text of it.
//
// It opens no connection and keeps no state. Everything that is parsed is taken to
// be hostile: lengths are bounded before anything is allocated, and a payload has to
// be used up to its last byte.
package wire
