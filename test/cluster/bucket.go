package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Bucket is one of S3.
type Bucket struct {
	client *s3.Client
	name   string
}

// Bucket is the one of a name, which may not be there yet.
func (e *Engines) Bucket(name string) *Bucket {
	return &Bucket{name: name, client: s3.New(s3.Options{
		BaseEndpoint: &e.S3, Region: e.Region, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(e.Key, e.Secret, ""),
	})}
}

// url is how Segue is told of a bucket.
func (e *Engines) url(bucket string) string {
	return "s3://" + bucket + "?region=" + e.Region + "&use_path_style=true&disable_https=true&endpoint=" + e.S3
}

// Make makes the bucket.
func (b *Bucket) Make(ctx context.Context) error {
	if _, err := b.client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &b.name}); err != nil {
		return fmt.Errorf("make bucket %s: %w", b.name, err)
	}
	return nil
}

// PutFolder puts the files of a folder into the bucket, by their paths in it, and counts them.
func (b *Bucket) PutFolder(ctx context.Context, dir string) (n int, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, fmt.Errorf("put folder: %w", err)
	}
	defer root.Close()
	err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		key, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, err := root.Open(key)
		if err != nil {
			return err
		}
		defer f.Close()
		key = filepath.ToSlash(key)
		n++
		_, err = b.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &b.name, Key: &key, Body: f})
		return err
	})
	if err != nil {
		return n, fmt.Errorf("put folder: %w", err)
	}
	return n, nil
}

// Keys are those of the objects below a prefix.
func (b *Bucket) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: &prefix})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield("", fmt.Errorf("list bucket %s: %w", b.name, err))
				return
			}
			for _, o := range page.Contents {
				if !yield(*o.Key, nil) {
					return
				}
			}
		}
	}
}

// Fetch writes an object to a file.
func (b *Bucket) Fetch(ctx context.Context, key, path string) error {
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: &key})
	if err != nil {
		return fmt.Errorf("fetch %s: %w", key, err)
	}
	defer out.Body.Close()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("fetch %s: %w", key, err)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", key, err)
	}
	if _, err = io.Copy(f, out.Body); err != nil {
		err = fmt.Errorf("fetch %s: %w", key, err)
	}
	return errors.Join(err, f.Close())
}
