// Package ogg reads Ogg physical streams (RFC 3533) that hold one Vorbis
// stream, and cuts them into records of whole pages with exact sample
// positions.
//
// It decodes no audio. It parses the three Vorbis headers as far as the mode
// table of the setup header (Vorbis I specification, section 4.2), because the
// length of a packet follows from the block size of its mode and of the mode
// before it. That is what makes positions exact to the sample without a
// decoder.
//
// Every byte read is taken to be hostile: all sizes are bounded and every page
// is checked against its CRC.
package ogg
