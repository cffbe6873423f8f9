// Package ffmpeg decodes hostile audio files with the ffmpeg program inside a
// sandbox, and makes Segue's renditions from one decode.
//
// The program gets a fixed command line built from constants, never a string of
// a user; the file as descriptor 0, open for reading only; and pipes for what it
// yields. It runs in its own process group under resource limits, without
// network, without leave to open any file but its own libraries and the source
// (Landlock), and with a short list of system calls (seccomp). Only audio
// demuxers and audio decoders are allowed, and only the file protocol.
//
// Go cannot run code between fork and exec, so the limits are set by the calling
// binary itself, started again as a hidden subcommand: main has to hand its
// arguments to SandboxMain before anything else when the first one is the
// subcommand's name. A Runner checks at its start which protections this
// machine gives and refuses to exist when a required one is missing.
//
// The package works on Linux only.
package ffmpeg
