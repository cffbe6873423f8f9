package upload

import (
	"flag"
	"fmt"
	"runtime"
	"time"

	"github.com/segue-music/segue/internal/kafkaconn"
)

// Config of the service.
type Config struct {
	// Watch is a folder whose audio files are taken in; empty is none.
	Watch string
	// BucketURL is a bucket whose audio objects are taken in, BucketPrefix what their keys
	// begin with; BucketTokenFile holds what senders of its messages must know, and
	// BucketRescan is how often it is listed.
	BucketURL, BucketPrefix, BucketTokenFile string
	BucketRescan                             time.Duration
	// BucketKafka has the bucket's messages in the topic BucketTopic, as well or instead.
	BucketKafka kafkaconn.Config
	BucketTopic string
	// Rescan is how often the watched folder is looked through whole, Settle how long a
	// file has to be unchanged.
	Rescan, Settle time.Duration
	// Workers is how many files are decoded at a time.
	Workers int
	// MaxSize bounds one upload, Quota what one owner's staged uploads take, in bytes.
	// MaxOpen bounds the unfinished uploads of one owner.
	MaxSize, Quota int64
	MaxOpen        int
	// Expire is how long an unfinished upload waits for its next byte, KeepFailed how long
	// the bytes of a failed one are kept for another try.
	Expire, KeepFailed time.Duration
	// KeepOriginals keeps staged bytes when an upload is complete.
	KeepOriginals bool
	// MaxAttempts is how often a step is tried before the job is given up.
	MaxAttempts int
	// MaxDuration bounds the sound of one file, MaxCPU and MaxWall what decoding it takes.
	MaxDuration, MaxCPU, MaxWall time.Duration
}

// RegisterFlags adds the flags, named -<prefix>.watch and so on, with the defaults.
func (c *Config) RegisterFlags(prefix string, fs *flag.FlagSet) {
	name := func(s string) string { return prefix + "." + s }
	fs.StringVar(&c.Watch, name("watch"), "", "folder whose audio files are taken in, in place; empty is none")
	fs.StringVar(&c.BucketURL, name("bucket.url"), "", "bucket whose audio objects are taken in: s3://name?region=…; empty is none")
	fs.StringVar(&c.BucketPrefix, name("bucket.prefix"), "", "what the keys begin with of the objects that are taken in")
	fs.StringVar(&c.BucketTokenFile, name("bucket.token.file"), "", "file with the secret by which the bucket's messages to /upload/v1/bucket are known, as a bearer token or ?token=; empty takes no messages")
	c.BucketKafka.RegisterFlags(name("bucket.kafka"), "that have the bucket's messages; empty is none", fs)
	fs.StringVar(&c.BucketTopic, name("bucket.kafka-topic"), "", "topic of these messages, to which only the bucket may write")
	fs.DurationVar(&c.BucketRescan, name("bucket.rescan"), time.Hour, "how often the bucket is listed, for messages that were lost")
	fs.DurationVar(&c.Rescan, name("rescan"), 5*time.Minute, "how often the watched folder is looked through whole")
	fs.DurationVar(&c.Settle, name("settle"), 2*time.Second, "how long a watched file has to be unchanged before it is read")
	// A quarter of the cores stays free, and decoders are niced: whoever listens comes first.
	fs.IntVar(&c.Workers, name("workers"), max(1, runtime.GOMAXPROCS(0)*3/4), "how many files are decoded at a time")
	fs.Int64Var(&c.MaxSize, name("max-size"), 2<<30, "largest upload in bytes")
	fs.Int64Var(&c.Quota, name("quota"), 50<<30, "bytes that one owner's unfinished and staged uploads may take; 0 is no bound")
	fs.IntVar(&c.MaxOpen, name("max-open"), 1000, "unfinished uploads that one owner may have; 0 is no bound")
	fs.DurationVar(&c.Expire, name("expire"), 24*time.Hour, "how long an unfinished upload waits for its next byte")
	fs.DurationVar(&c.KeepFailed, name("keep-failed"), 7*24*time.Hour, "how long the bytes of a failed upload are kept")
	fs.BoolVar(&c.KeepOriginals, name("keep-originals"), false, "keep uploaded originals in the blob store when all is done")
	fs.IntVar(&c.MaxAttempts, name("max-attempts"), 8, "how often a step is tried before its job is given up")
	fs.DurationVar(&c.MaxDuration, name("max-duration"), 6*time.Hour, "longest sound of one file")
	fs.DurationVar(&c.MaxCPU, name("max-decode-cpu"), 30*time.Minute, "CPU time that decoding and encoding one file may take")
	fs.DurationVar(&c.MaxWall, name("max-decode-time"), 2*time.Hour, "time that decoding and encoding one file may take")
}

// Check refuses values that cannot work.
func (c Config) Check() error {
	switch {
	case c.Workers < 1:
		return fmt.Errorf("upload.workers is %d, at least 1 is needed", c.Workers)
	case c.MaxSize < 1:
		return fmt.Errorf("upload.max-size is %d, at least 1 is needed", c.MaxSize)
	case c.Quota < 0 || c.MaxOpen < 0:
		return fmt.Errorf("upload.quota and upload.max-open may not be negative")
	case c.MaxAttempts < 1:
		return fmt.Errorf("upload.max-attempts is %d, at least 1 is needed", c.MaxAttempts)
	case c.MaxDuration < time.Second || c.MaxCPU < time.Second || c.MaxWall < time.Second:
		return fmt.Errorf("upload.max-duration, max-decode-cpu or max-decode-time is under a second")
	case c.BucketURL == "" && (c.BucketPrefix != "" || c.BucketTokenFile != "" || c.BucketKafka.On()):
		return fmt.Errorf("upload.bucket.prefix, token.file and kafka need upload.bucket.url")
	case c.BucketKafka.On() != (c.BucketTopic != ""):
		return fmt.Errorf("upload.bucket.kafka and kafka-topic go together")
	case c.BucketRescan < time.Minute:
		return fmt.Errorf("upload.bucket.rescan is under a minute")
	case c.Rescan < time.Second || c.Settle < 0 || c.Expire < time.Minute || c.KeepFailed < 0:
		return fmt.Errorf("upload.rescan, settle, expire or keep-failed is too short")
	}
	if err := c.BucketKafka.Check(); err != nil {
		return fmt.Errorf("upload.bucket.kafka: %w", err)
	}
	return nil
}
