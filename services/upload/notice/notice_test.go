package notice

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func record(event, bucket, key string) string {
	return fmt.Sprintf(`{"eventVersion":"2.1","eventSource":"aws:s3","eventName":%q,"s3":{"bucket":{"name":%q,"arn":"arn:aws:s3:::x"},"object":{"key":%q,"size":9,"eTag":"x"}}}`, event, bucket, key)
}

func message(records ...string) []byte {
	return []byte(`{"Records":[` + strings.Join(records, ",") + `]}`)
}

func TestRead(t *testing.T) {
	got, err := Read(message(
		record("ObjectCreated:Put", "music", "in/Some+song+%C3%B6.flac"), record("s3:ObjectCreated:CompleteMultipartUpload", "music", "in/100% pure.mp3"),
		record("ObjectRemoved:Delete", "music", "in/gone.flac"), record("ObjectCreated:Copy", "other", "plain.ogg"),
	))
	want := []Created{
		{"music", []string{"in/Some song ö.flac", "in/Some+song+%C3%B6.flac"}}, {"music", []string{"in/100% pure.mp3"}}, {"other", []string{"plain.ogg"}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err := Read([]byte(`{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"music"}`)); err != nil || got != nil {
		t.Errorf("test event: %v, %v", got, err)
	}
	many := make([]string, maxRecords+1)
	for i := range many {
		many[i] = record("ObjectCreated:Put", "b", "k")
	}
	for name, b := range map[string][]byte{
		"no_json": []byte("<x>"), "empty": nil, "array": []byte("[]"), "many": message(many...), "large": make([]byte, MaxBytes+1),
		"no_key": message(record("ObjectCreated:Put", "b", "")), "no_bucket": message(record("ObjectCreated:Put", "", "k")),
		"long_key": message(record("ObjectCreated:Put", "b", strings.Repeat("k", maxKey+1))),
	} {
		if _, err := Read(b); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(message(record("ObjectCreated:Put", "music", "in/a+b%2F.flac")))
	f.Add([]byte(`{"Records":null}`))
	f.Add([]byte(`{"Records":[{"eventName":"ObjectCreated:","s3":{"object":{"key":"%zz"}}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := Read(b)
		if err != nil && !errors.Is(err, ErrMessage) {
			t.Fatal(err)
		}
		for _, c := range list {
			if c.Bucket == "" || len(c.Keys) == 0 || len(c.Keys) > 2 {
				t.Fatalf("%q", c)
			}
		}
	})
}
