// Package index finds fingerprints among millions: which tracks sound like this one, and from where on.
//
// Items that are equal bit by bit propose; bit error rates decide. Each posting of an item in the index votes for the
// track that has it and for the offset at which the query would begin there. The offsets with most votes are verified: all
// items of the common part are compared, and the share of differing bits says whether it is the same sound (Haitsma and
// Kalker, "A Highly Robust Audio Fingerprinting System", ISMIR 2002, sections 4.2 and 5; Wang, "An Industrial-Strength
// Audio Search Algorithm", ISMIR 2003, for the votes).
//
// Memory is an index in memory. Disk is one in a folder: immutable segments, what came since in memory and in a journal,
// and a manifest that names them. docs/audio.md has the figures: recall, false matches, bytes and time per query.
package index
