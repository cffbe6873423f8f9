//go:build engines

package lake_test

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/segue-music/segue/internal/blob/cloudblob"
	"github.com/segue-music/segue/internal/testengine"
	"github.com/segue-music/segue/services/warehouse"
	"github.com/segue-music/segue/services/warehouse/storetest"
)

// TestLake_S3 is the suite on a bucket.
func TestLake_S3(t *testing.T) {
	gateway := testengine.S3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", gateway.Key)
	t.Setenv("AWS_SECRET_ACCESS_KEY", gateway.Secret)
	t.Setenv("AWS_SESSION_TOKEN", "")
	admin := s3.New(s3.Options{
		BaseEndpoint: &gateway.Endpoint, Region: gateway.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(gateway.Key, gateway.Secret, ""),
	})
	query := url.Values{"endpoint": {gateway.Endpoint}, "region": {gateway.Region}, "use_path_style": {"true"}}
	used := 0
	storetest.Run(t, func(t *testing.T) func() warehouse.Store {
		used++
		bucket := fmt.Sprintf("lake-%d", used)
		if _, err := admin.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
			t.Fatal(err)
		}
		b, err := cloudblob.Open(t.Context(), "s3://"+bucket+"?"+query.Encode())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		return func() warehouse.Store { return open(t, b) }
	})
}
