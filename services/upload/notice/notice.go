// Package notice reads what an S3 bucket tells of its objects: the event messages of
// Amazon S3, which MinIO, versitygw and others send too (Event message structure, Amazon
// S3 User Guide).
package notice

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

const (
	// MaxBytes bounds a message.
	MaxBytes = 1 << 20
	// maxRecords bounds the objects of a message, maxKey a key in bytes, as S3 does.
	maxRecords, maxKey = 1000, 1024
)

// ErrMessage refuses what is no message of a bucket.
var ErrMessage = errors.New("no message of a bucket")

// Created is an object that was put into a bucket. Nothing of it is believed: the bucket
// itself is asked.
type Created struct {
	Bucket string
	// Keys are what the key may be: senders escape it as in a query, or do not.
	Keys []string
}

// Read are the objects that a message tells of. A message about other things has none.
func Read(b []byte) ([]Created, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("%w: over %d bytes", ErrMessage, MaxBytes)
	}
	var m struct {
		Records []struct {
			EventName string `json:"eventName"`
			S3        struct {
				Bucket struct {
					Name string `json:"name"`
				} `json:"bucket"`
				Object struct {
					Key string `json:"key"`
				} `json:"object"`
			} `json:"s3"`
		}
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if len(m.Records) > maxRecords {
		return nil, fmt.Errorf("%w: %d records", ErrMessage, len(m.Records))
	}
	var out []Created
	for _, r := range m.Records {
		if !strings.HasPrefix(strings.TrimPrefix(r.EventName, "s3:"), "ObjectCreated:") {
			continue
		}
		c := Created{Bucket: r.S3.Bucket.Name}
		if plain, err := url.QueryUnescape(r.S3.Object.Key); err == nil {
			c.Keys = append(c.Keys, plain)
		}
		if len(c.Keys) == 0 || c.Keys[0] != r.S3.Object.Key {
			c.Keys = append(c.Keys, r.S3.Object.Key)
		}
		for _, k := range c.Keys {
			if k == "" || len(k) > maxKey || c.Bucket == "" {
				return nil, fmt.Errorf("%w: a record without bucket and key", ErrMessage)
			}
		}
		out = append(out, c)
	}
	return out, nil
}
