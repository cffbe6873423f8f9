//go:build engines

package upload_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segue-music/segue/internal/blob/cloudblob"
	"github.com/segue-music/segue/internal/kafkaconn"
	"github.com/segue-music/segue/internal/testengine"
	"github.com/segue-music/segue/services/upload"
)

// TestBucket_Kafka: what a real S3 server tells a real Kafka becomes tracks, and what
// others put into the topic does no harm.
func TestBucket_Kafka(t *testing.T) {
	const topic, bucket = "bucket-messages", "music"
	kafka := testengine.Kafka(t)
	seeds := kgo.SeedBrokers(kafka.Seeds...)
	client, err := kgo.NewClient(seeds)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 2, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	gateway := testengine.S3Telling(t, kafka, topic)
	t.Setenv("AWS_ACCESS_KEY_ID", gateway.Key)
	t.Setenv("AWS_SECRET_ACCESS_KEY", gateway.Secret)
	t.Setenv("AWS_SESSION_TOKEN", "")
	sender := s3.New(s3.Options{
		BaseEndpoint: &gateway.Endpoint, Region: gateway.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(gateway.Key, gateway.Secret, ""),
	})
	name := bucket
	if _, err := sender.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	query := url.Values{"endpoint": {gateway.Endpoint}, "region": {gateway.Region}, "use_path_style": {"true"}}
	objects, err := cloudblob.OpenInbox(t.Context(), "s3://"+bucket+"?"+query.Encode())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = objects.Close() })

	w := newWorld(t)
	queue := &kafkaconn.Queue{Client: []kgo.Opt{seeds}, Topic: topic, Group: "upload", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	w.inbox = objects
	w.bucket = upload.BucketConfig{
		Name: bucket, Prefix: "in/", Rescan: time.Hour, Messages: queue.Consume,
		Owner: func(context.Context) (string, error) { return artistID, nil },
	}
	r := w.start(t)
	tell := func(text string) {
		t.Helper()
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(text)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	put := func(key string, body []byte) {
		t.Helper()
		if _, err := sender.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &name, Key: &key, Body: bytes.NewReader(body)}); err != nil {
			t.Fatal(err)
		}
	}
	tell("no message at all")
	tell(`{"Records":[` + created(bucket, "in/not there.flac") + `,` + created("another", "in/a.flac") + `]}`)
	put("elsewhere/b.flac", makeAudio(t, "flac", 3, 2))
	put("in/Ein Stück + mehr.flac", makeAudio(t, "flac", 3, 1, "-metadata", "title=By message"))
	var first upload.Upload
	r.eventually(t, func() error {
		list := r.all(t)
		if len(list) == 0 {
			return errors.New("the object is no upload yet")
		}
		first = list[0]
		return nil
	})
	if first.Source != upload.SourceBucket || first.FileName != "Ein Stück + mehr.flac" {
		t.Fatalf("uploads %+v", r.all(t))
	}
	if u := r.until(t, first.ID, in(upload.Complete, upload.Failed)); u.State != upload.Complete || w.others.track(u.TrackID).GetTitle() != "By message" {
		t.Errorf("%+v", u)
	}
}
