//go:build engines

package warehouse_test

import (
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/segue-music/segue/internal/testengine"
)

// TestWriters_Engines is TestWriters on Kafka and S3.
func TestWriters_Engines(t *testing.T) {
	kafka, gateway := testengine.Kafka(t), testengine.S3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", gateway.Key)
	t.Setenv("AWS_SECRET_ACCESS_KEY", gateway.Secret)
	t.Setenv("AWS_SESSION_TOKEN", "")
	const bucket = "lake"
	name := bucket
	_, err := s3.New(s3.Options{
		BaseEndpoint: &gateway.Endpoint, Region: gateway.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(gateway.Key, gateway.Secret, ""),
	}).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
	if err != nil {
		t.Fatal(err)
	}
	query := url.Values{"endpoint": {gateway.Endpoint}, "region": {gateway.Region}, "use_path_style": {"true"}}
	writers(t, kafka.Seeds, "s3://"+bucket+"?"+query.Encode())
}
