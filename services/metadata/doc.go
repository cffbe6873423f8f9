// Package metadata is the catalogue: artists, albums, tracks, artwork, renditions,
// credits and availability. It owns the rules by which a file's tags become artists and
// albums, and the rules of who sees what.
//
// # From tags to artists and albums
//
// An artist is found by MusicBrainz id, then by name: Unicode NFKC, case folded, white
// space collapsed, typographic quotes and dashes made plain. Names are never split here;
// "AC/DC" and "Simon & Garfunkel" stay one artist. The name shown is the spelling that
// most files use, the first one where they are equal.
//
// An album belongs to one owner, so that nobody can put a track into another owner's
// album. It is found by MusicBrainz album id, then by album artists and title, never by
// year; a disc suffix of the title ("… (Disc 2)") counts as the disc number when the
// tags do not contradict. Files without an album artist are one album by folder and
// title, else by first artist and title; see albummatch.go. Entities are never deleted:
// an album or artist without tracks is hidden and comes back with its id.
//
// # Writing
//
// Every change is one plan (see [Store]): a pure function from what is stored to what is
// to be stored, with its events. What an entity repeats of another one, such as an
// artist's name in each of its tracks, is brought up to date by [Service.Run] after the
// change, because an artist may have thousands of tracks.
package metadata
