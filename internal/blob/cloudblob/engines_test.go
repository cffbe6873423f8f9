//go:build engines

package cloudblob_test

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/blob/blobtest"
	"github.com/segue-music/segue/internal/blob/cloudblob"
	"github.com/segue-music/segue/internal/testengine"
)

func TestS3(t *testing.T) {
	gateway := testengine.S3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", gateway.Key)
	t.Setenv("AWS_SECRET_ACCESS_KEY", gateway.Secret)
	t.Setenv("AWS_SESSION_TOKEN", "")
	admin := s3.New(s3.Options{
		BaseEndpoint: &gateway.Endpoint, Region: gateway.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(gateway.Key, gateway.Secret, ""),
	})
	buckets := 0
	open := func(t *testing.T) blob.Store {
		t.Helper()
		buckets++
		name := fmt.Sprintf("bucket-%d", buckets)
		if _, err := admin.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(name)}); err != nil {
			t.Fatal(err)
		}
		query := url.Values{"endpoint": {gateway.Endpoint}, "region": {gateway.Region}, "use_path_style": {"true"}}
		s, err := cloudblob.Open(t.Context(), "s3://"+name+"?"+query.Encode())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	t.Run("store", func(t *testing.T) { blobtest.Run(t, open) })
}
