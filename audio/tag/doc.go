// Package tag reads the tags and the stream facts of audio files: Vorbis
// comments in Ogg Vorbis, Ogg Opus and FLAC, ID3v1 and ID3v2.2 to 2.4, MP4
// item lists, and the chunks of WAVE and AIFF.
//
// The type is told from the content, never from a name. A file is read by a few
// small ReadAt calls; pictures are located and read only when asked for.
//
// Tags are hostile text. Every string that leaves this package is valid UTF-8 in
// normal form C, bounded, and free of control characters and of the characters
// that turn the direction of text. It is plain text and never HTML: who shows
// it escapes it.
//
// # Artists
//
// Names are split only where the file is unambiguous, in this order:
//
//   - the multi-valued tag ARTISTS;
//   - several values of ARTIST (Vorbis comments, MP4, ID3v2.4's NULs);
//   - "; " inside one value, which no name holds;
//   - "/" only when the parts are exactly as many as the MusicBrainz artist ids
//     of the file, which is how ID3v2.3 files list several artists.
//
// A "/", "&" or "," alone splits nothing: AC/DC is one name. "feat.", "ft." and
// "featuring" end the main artist; what follows is a featured credit, whole.
package tag
