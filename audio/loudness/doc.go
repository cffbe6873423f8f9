// Package loudness measures programme loudness and peaks of 16 bit stereo PCM
// while it streams by: integrated loudness by ITU-R BS.1770-4 and EBU R128, sample
// peak, and true peak by fourfold oversampling (BS.1770-4, annex 2).
package loudness
