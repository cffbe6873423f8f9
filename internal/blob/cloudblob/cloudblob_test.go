package cloudblob_test

import (
	"testing"

	"gocloud.dev/blob/memblob"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/blob/blobtest"
	"github.com/segue-music/segue/internal/blob/cloudblob"
)

func TestStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store {
		s := cloudblob.New(memblob.OpenBucket(nil))
		t.Cleanup(func() { _ = s.Close() })
		return s
	})
}

func TestOpen(t *testing.T) {
	for _, u := range []string{"mem://", "file:///tmp", "http://x", "::"} {
		if _, err := cloudblob.Open(t.Context(), u); err == nil {
			t.Errorf("%q opens", u)
		}
	}
	s, err := cloudblob.Open(t.Context(), "s3://bucket?region=eu-north-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
