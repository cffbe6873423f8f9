package accesstoken

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// KeySet is a JWK set of Ed25519 keys (RFC 8037).
type KeySet struct {
	Keys []PublicKey `json:"keys"`
}

// PublicKey is one key of a set.
type PublicKey struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	ID        string `json:"kid"`
	X         string `json:"x"`
}

// Public is the set of the keys' public halves.
func Public(keys []Key) KeySet {
	set := KeySet{Keys: make([]PublicKey, len(keys))}
	for i, k := range keys {
		set.Keys[i] = PublicKey{
			Type: "OKP", Curve: "Ed25519", Use: "sig", Algorithm: algorithm, ID: k.ID,
			X: base64.RawURLEncoding.EncodeToString(public(k.private)),
		}
	}
	return set
}

// maxKeys bounds a set; ours has three.
const maxKeys = 32

// parseKeys reads the Ed25519 signing keys of a set by their ids. Keys of other kinds
// are passed over, as RFC 7517 section 5 has it.
func parseKeys(b []byte) (map[string]ed25519.PublicKey, error) {
	var set KeySet
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, fmt.Errorf("read key set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("read key set: %d keys", len(set.Keys))
	}
	keys := make(map[string]ed25519.PublicKey, len(set.Keys))
	for _, k := range set.Keys {
		if k.Type != "OKP" || k.Curve != "Ed25519" || k.ID == "" || (k.Use != "" && k.Use != "sig") || (k.Algorithm != "" && k.Algorithm != algorithm) {
			continue
		}
		x, err := base64.RawURLEncoding.Strict().DecodeString(k.X)
		if err != nil || len(x) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("read key set: key %q is malformed", k.ID)
		}
		keys[k.ID] = x
	}
	return keys, nil
}
