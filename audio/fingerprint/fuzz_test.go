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

// FuzzUnpack reads any text as a packed fingerprint: what is taken is what Pack makes.
func FuzzUnpack(f *testing.F) {
	for _, fp := range []Fingerprint{nil, {0}, {1, 1, 2}, {0xffffffff, 0, 0x80000000, 0x80000001}} {
		packed, err := Pack(fp)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	f.Add("AQAAAQ")
	f.Add("AQAA_////w")
	f.Fuzz(func(t *testing.T, packed string) {
		fp, err := Unpack(packed)
		if err != nil {
			return
		}
		if again, err := Pack(fp); err != nil || again != packed {
			t.Fatalf("%q becomes %q, %v", packed, again, err)
		}
	})
}
