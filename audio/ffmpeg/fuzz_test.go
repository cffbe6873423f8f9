package ffmpeg

import "testing"

// FuzzParseProbe reads any text as ffprobe's answer: names in a file end up in it.
func FuzzParseProbe(f *testing.F) {
	f.Add([]byte(`{"streams":[{"codec_name":"flac","sample_rate":"44100","channels":2,"duration":"3.5","tags":{"TITLE":"x"}}],"format":{"format_name":"flac","bit_rate":"900000"}}`))
	f.Add([]byte(`{"streams":[{"sample_rate":"1e309","duration":"-1","channels":-9223372036854775808}],"format":{"duration":"NaN","bit_rate":"Inf"}}`))
	f.Add([]byte(`{"streams":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseProbe(b)
		if err != nil {
			return
		}
		if p.Duration < 0 || p.Rate < 0 || p.BitRate < 0 || len(p.Tags) > maxProbeTags {
			t.Fatalf("%+v", p)
		}
		for k, v := range p.Tags {
			if len(v) > maxProbeValue || len(k) > 256 {
				t.Fatalf("a tag of %d and %d bytes", len(k), len(v))
			}
		}
	})
}
