package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/segue-music/segue/internal/blob/cloudblob"
	"github.com/segue-music/segue/internal/kafkaconn"
	"github.com/segue-music/segue/services/upload"
)

// minToken is how long the secret of the bucket's messages must be, in bytes.
const minToken = 16

// bucketGroup is how instances of upload share the messages of a bucket.
const bucketGroup = "segue-upload-bucket"

// openInbox opens the bucket whose objects are taken in, when there is one.
func (p *process) openInbox(ctx context.Context, owner func(context.Context) (string, error)) (upload.Inbox, upload.BucketConfig, error) {
	c := p.config.Upload
	if c.BucketURL == "" {
		return nil, upload.BucketConfig{}, nil
	}
	u, err := url.Parse(c.BucketURL)
	if err != nil {
		return nil, upload.BucketConfig{}, errors.New("upload.bucket.url is no URL") // which may hold a secret
	}
	b := upload.BucketConfig{Name: u.Host, Prefix: c.BucketPrefix, Rescan: c.BucketRescan, Owner: owner}
	if c.BucketTokenFile != "" {
		if b.Token, err = os.ReadFile(c.BucketTokenFile); err != nil {
			return nil, b, fmt.Errorf("read the token of the bucket's messages: %w", err)
		}
		if b.Token = bytes.TrimSpace(b.Token); len(b.Token) < minToken {
			return nil, b, fmt.Errorf("%s holds a token of %d bytes, %d are needed", c.BucketTokenFile, len(b.Token), minToken)
		}
	}
	if c.BucketKafka.On() {
		client, err := c.BucketKafka.Options()
		if err != nil {
			return nil, b, fmt.Errorf("set up upload.bucket.kafka: %w", err)
		}
		queue := &kafkaconn.Queue{Client: client, Topic: c.BucketTopic, Group: bucketGroup, Log: p.log}
		b.Messages = queue.Consume
	}
	inbox, err := cloudblob.OpenInbox(ctx, c.BucketURL)
	if err != nil {
		return nil, b, fmt.Errorf("open upload.bucket.url: %w", err)
	}
	p.closers = append(p.closers, inbox.Close)
	return inbox, b, nil
}
