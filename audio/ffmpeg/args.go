package ffmpeg

import (
	"fmt"
	"strings"
)

// Rendition is one of the encodings that Segue makes, all Ogg Vorbis.
type Rendition int

// The renditions, named by their nominal kbit/s.
const (
	Vorbis24 Rendition = iota + 1
	Vorbis96
	Vorbis160
	Vorbis320
)

// Renditions lists all of them in rising quality.
func Renditions() []Rendition { return []Rendition{Vorbis24, Vorbis96, Vorbis160, Vorbis320} }

// Kbps is the nominal bit rate in kbit/s: exact for Vorbis24, an upper value for
// the others, which vary.
func (r Rendition) Kbps() int {
	switch r {
	case Vorbis24:
		return 24
	case Vorbis96:
		return 96
	case Vorbis160:
		return 160
	case Vorbis320:
		return 320
	}
	return 0
}

// Rate is in samples per second.
func (r Rendition) Rate() int {
	if r == Vorbis24 {
		return 22050
	}
	return 44100
}

// Channels is 1 or 2.
func (r Rendition) Channels() int {
	if r == Vorbis24 {
		return 1
	}
	return 2
}

func (r Rendition) String() string { return fmt.Sprintf("vorbis-%d", r.Kbps()) }

// encoderArgs are the arguments that make the rendition. libvorbis takes 24
// kbit/s only as managed mono at up to 24 kHz; the others have the quality mode
// of their nominal rate.
func (r Rendition) encoderArgs() []string {
	switch r {
	case Vorbis24:
		return []string{"-ac", "1", "-ar", "22050", "-b:a", "24k", "-minrate", "24k", "-maxrate", "24k"}
	case Vorbis96:
		return []string{"-ac", "2", "-ar", "44100", "-b:a", "96k"}
	case Vorbis160:
		return []string{"-ac", "2", "-ar", "44100", "-b:a", "160k"}
	case Vorbis320:
		return []string{"-ac", "2", "-ar", "44100", "-b:a", "320k"}
	}
	return nil
}

// demuxers are the formats that are tried. Playlists (hls, concat, dash) are not
// among them, nor anything that opens a second file.
func demuxers() string {
	return strings.Join([]string{
		"aac", "aiff", "ape", "asf", "caf", "dsf", "flac", "mov", "mp3", "mpc", "mpc8", "ogg", "tta", "w64", "wav", "wv",
	}, ",")
}

// decoders are audio decoders only: no picture or subtitle is ever decoded.
func decoders() string {
	return strings.Join([]string{
		"aac", "aac_latm", "ac3", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "alac", "ape",
		"dsd_lsbf", "dsd_lsbf_planar", "dsd_msbf", "dsd_msbf_planar", "eac3", "flac",
		"mp1float", "mp2float", "mp3float", "mpc7", "mpc8", "opus",
		"pcm_alaw", "pcm_mulaw", "pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be",
		"pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be",
		"tta", "vorbis", "wavpack", "wmalossless", "wmapro", "wmav1", "wmav2",
	}, ",")
}

// inputArgs open descriptor 0. The path is used rather than a pipe because MP4
// files with their index at the end need to seek; it is the only file that
// Landlock lets the program open.
func inputArgs() []string {
	return []string{
		"-protocol_whitelist", "file", "-format_whitelist", demuxers(), "-codec_whitelist", decoders(),
		"-i", "file:/proc/self/fd/0",
	}
}

// firstOutput is the descriptor of the first output pipe.
const firstOutput = reportFD + 1

// transcodeArgs make PCM on the first pipe and the renditions on the next ones,
// from one decode.
func transcodeArgs(renditions []Rendition) []string {
	args := []string{"-nostdin", "-hide_banner", "-nostats", "-loglevel", "error", "-threads", "1", "-filter_threads", "1"}
	args = append(args, inputArgs()...)
	// Time stamps are counted anew: gaps in those of the source would put gaps
	// into granule positions.
	each := []string{
		"-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1",
		"-filter:a", "asettb=1/sr,asetpts=N", "-fflags", "+bitexact", "-flags:a", "+bitexact",
		// Nobody waits for a single page: what gathers costs fewer changes between processes.
		"-flush_packets", "0",
	}
	pipe := func(i int) string { return fmt.Sprintf("pipe:%d", firstOutput+i) }
	args = append(args, each...)
	args = append(args, "-c:a", "pcm_s16le", "-ac", "2", "-ar", "44100", "-f", "s16le", pipe(0))
	for i, r := range renditions {
		args = append(args, each...)
		args = append(args, "-c:a", "libvorbis")
		args = append(args, r.encoderArgs()...)
		args = append(args, "-page_duration", "250000", "-f", "ogg", pipe(i+1))
	}
	return args
}

func probeArgs() []string {
	args := append([]string{"-hide_banner", "-loglevel", "error"}, inputArgs()...)
	return append(args, "-of", "json", "-select_streams", "a:0", "-show_entries",
		"format=format_name,duration,bit_rate:format_tags:stream=codec_name,sample_rate,channels,duration,bit_rate:stream_tags")
}
