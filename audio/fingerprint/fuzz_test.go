package fingerprint

import "testing"

// FuzzParse reads any text as fpcalc's output.
func FuzzParse(f *testing.F) {
	f.Add("DURATION=3\nFINGERPRINT=1,2,4294967295\n")
	f.Add("FINGERPRINT=\n")
	f.Add("FINGERPRINT=1,,2\n")
	f.Add("FINGERPRINT=-1\nFINGERPRINT=4294967296")
	f.Fuzz(func(t *testing.T, out string) {
		fp, err := parse(out)
		if (err == nil) == (len(fp) == 0) || len(fp) > maxItems {
			t.Fatalf("%d items, error %v", len(fp), err)
		}
	})
}
