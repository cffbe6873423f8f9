package metadata

import (
	"math"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

// Album gain. A track's gain g (dB) is to -14 LUFS, so its loudness is L = -14 - g and
// its mean square is in proportion to 10^(-g/10). An album's loudness is taken as the
// mean of those weighted by duration, which is what EBU R 128 measures over the album
// played through but for the gate across tracks; its gain brings that to -14 LUFS:
//
//	gain = -10 log10( Σ dᵢ 10^(-gᵢ/10) / Σ dᵢ )
//
// The sum is kept in whole numbers, so that adding and taking away tracks in any order
// gives the same.
const (
	energyUnit = 1e5
	silentPeak = -96 * 256 // Q8.8 dBFS, what audio/loudness gives for digital silence
	// maxEnergy keeps the sum of an album of 10,000 tracks within 64 bits; it is 11 days
	// at 12 dB above the target.
	maxEnergy = uint64(1) << 50
)

// energy of a track in units of ms / energyUnit; silence has none.
func energy(durationMs uint64, gainQ8, peakQ8 int32) uint64 {
	if gainQ8 == 0 && peakQ8 <= silentPeak {
		return 0
	}
	e := float64(durationMs) * math.Pow(10, -float64(gainQ8)/2560) * energyUnit
	return min(uint64(math.Round(min(max(e, 1), float64(maxEnergy)))), maxEnergy)
}

// albumGain is 0 until every track was measured, and for albums that are only a folder.
func albumGain(r *metadatav1.AlbumRecord) int32 {
	a := r.GetAlbum()
	if r.GetUntitled() || a.GetTrackCount() == 0 || r.GetMeasured() != a.GetTrackCount() || r.GetEnergy() == 0 || a.GetDurationMs() == 0 {
		return 0
	}
	mean := float64(r.GetEnergy()) / (float64(a.GetDurationMs()) * energyUnit)
	q8 := math.Round(-2560 * math.Log10(mean))
	return int32(min(max(q8, math.MinInt16), math.MaxInt16))
}
