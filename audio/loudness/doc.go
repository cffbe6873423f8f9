// Package loudness measures programme loudness and peaks of 16 bit stereo PCM
// while it streams by: integrated, momentary and short-term loudness by ITU-R BS.1770-4
// and EBU R128, the loudness range of EBU Tech 3342, sample peak, and true peak by
// fourfold oversampling (BS.1770-4, annex 2).
package loudness
