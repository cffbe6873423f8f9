package dsp

import "encoding/binary"

// Mono appends the mean of the channels of interleaved signed 16 bit little endian stereo
// PCM to dst. What is behind the last whole frame of p is left.
func Mono(dst []float64, p []byte) []float64 {
	const scale = 1.0 / (2 * 32768)
	for ; len(p) >= 4; p = p[4:] {
		v := binary.LittleEndian.Uint32(p)
		dst = append(dst, float64(int32(int16(v))+int32(int16(v>>16)))*scale)
	}
	return dst
}
