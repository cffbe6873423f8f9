package sframe

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	v, err := hex.DecodeString(s)
	*h = v
	return err
}

type vectors struct {
	Header []struct {
		KID     uint64   `json:"kid"`
		CTR     uint64   `json:"ctr"`
		Encoded hexBytes `json:"encoded"`
	} `json:"header"`
	CTR128 []aeadVector `json:"aes_ctr_hmac"`
	CTR256 []aeadVector `json:"aes_256_ctr_hmac"`
	SFrame []struct {
		Suite     Suite    `json:"cipher_suite"`
		KID       uint64   `json:"kid"`
		CTR       uint64   `json:"ctr"`
		BaseKey   hexBytes `json:"base_key"`
		KeyLabel  hexBytes `json:"sframe_key_label"`
		SaltLabel hexBytes `json:"sframe_salt_label"`
		Salt      hexBytes `json:"sframe_salt"`
		Metadata  hexBytes `json:"metadata"`
		Nonce     hexBytes `json:"nonce"`
		PT        hexBytes `json:"pt"`
		CT        hexBytes `json:"ct"`
	} `json:"sframe"`
}

type aeadVector struct {
	Suite Suite    `json:"cipher_suite"`
	Key   hexBytes `json:"key"`
	Nonce hexBytes `json:"nonce"`
	AAD   hexBytes `json:"aad"`
	PT    hexBytes `json:"pt"`
	CT    hexBytes `json:"ct"`
}

func load(t testing.TB) vectors {
	t.Helper()
	b, err := os.ReadFile("testdata/sframe-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Header) != 289 || len(v.CTR128) != 3 || len(v.CTR256) != 3 || len(v.SFrame) != 5 {
		t.Fatalf("vectors are missing: %d %d %d %d", len(v.Header), len(v.CTR128), len(v.CTR256), len(v.SFrame))
	}
	return v
}

func TestVectors_Header(t *testing.T) {
	for _, v := range load(t).Header {
		if got := AppendHeader(nil, v.KID, v.CTR); !bytes.Equal(got, v.Encoded) || HeaderLen(v.KID, v.CTR) != len(got) {
			t.Errorf("header of %d, %d is %x, want %x", v.KID, v.CTR, got, []byte(v.Encoded))
		}
		kid, ctr, n, err := ParseHeader(append(v.Encoded[:len(v.Encoded):len(v.Encoded)], 0xff))
		if err != nil || kid != v.KID || ctr != v.CTR || n != len(v.Encoded) {
			t.Errorf("parse %x: %d, %d, %d, %v", []byte(v.Encoded), kid, ctr, n, err)
		}
		if _, _, _, err := ParseHeader(v.Encoded[:len(v.Encoded)-1]); err == nil {
			t.Errorf("a part of %x passed", []byte(v.Encoded))
		}
	}
}

func TestVectors_CTRHMAC(t *testing.T) {
	all := load(t)
	for _, v := range append(all.CTR128, all.CTR256...) {
		p, err := v.Suite.params()
		if err != nil {
			t.Fatal(err)
		}
		aead, err := p.newAEAD(v.Key)
		if err != nil {
			t.Fatal(err)
		}
		if got := aead.Seal(nil, v.Nonce, v.PT, v.AAD); !bytes.Equal(got, v.CT) {
			t.Errorf("suite %d: %x, want %x", v.Suite, got, []byte(v.CT))
		}
		got, err := aead.Open(nil, v.Nonce, v.CT, v.AAD)
		if err != nil || !bytes.Equal(got, v.PT) {
			t.Errorf("suite %d: open: %x, %v", v.Suite, got, err)
		}
		for i := range v.CT {
			bad := bytes.Clone(v.CT)
			bad[i] ^= 1
			if _, err := aead.Open(nil, v.Nonce, bad, v.AAD); err == nil {
				t.Errorf("suite %d: byte %d changed and passed", v.Suite, i)
			}
		}
	}
}

func TestVectors_SFrame(t *testing.T) {
	for _, v := range load(t).SFrame {
		k, err := New(v.Suite, v.KID, v.BaseKey)
		if err != nil {
			t.Fatal(err)
		}
		nonce := k.nonce(v.CTR)
		if !bytes.Equal(k.salt[:], v.Salt) || !bytes.Equal(nonce[:], v.Nonce) ||
			label("SFrame 1.0 Secret key ", v.KID, v.Suite) != string(v.KeyLabel) ||
			label("SFrame 1.0 Secret salt ", v.KID, v.Suite) != string(v.SaltLabel) {
			t.Errorf("suite %d: derivation differs", v.Suite)
		}
		ct := k.Seal([]byte("before"), v.CTR, v.Metadata, v.PT)
		if !bytes.Equal(ct[6:], v.CT) || len(v.CT) != len(v.PT)+k.Overhead(v.CTR) {
			t.Errorf("suite %d: %x, want %x", v.Suite, ct[6:], []byte(v.CT))
		}
		pt, ctr, err := k.Open(nil, v.CT, v.Metadata)
		if err != nil || ctr != v.CTR || !bytes.Equal(pt, v.PT) {
			t.Errorf("suite %d: open: %x, %d, %v", v.Suite, pt, ctr, err)
		}
		for i := range v.CT {
			bad := bytes.Clone(v.CT)
			bad[i] ^= 1
			if _, _, err := k.Open(nil, bad, v.Metadata); err == nil {
				t.Errorf("suite %d: byte %d changed and passed", v.Suite, i)
			}
		}
		if _, _, err := k.Open(nil, v.CT, append(v.Metadata, 0)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("suite %d: other metadata: %v", v.Suite, err)
		}
	}
	if _, err := New(9, 0, make([]byte, 16)); err == nil {
		t.Error("suite 9 passed")
	}
}

func FuzzOpen(f *testing.F) {
	k, err := New(AES128GCM, 1, make([]byte, 16))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.Seal(nil, 300, nil, []byte("x")))
	f.Add([]byte{0xff})
	other, err := New(AES128CTRHMAC32, 1, make([]byte, 16))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, k := range []*Key{k, other} {
			if pt, ctr, err := k.Open(nil, b, nil); err == nil && ctr == 0 && len(pt) > len(b) {
				t.Fatal("grew")
			}
		}
	})
}
