package event

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/span"
)

// Owner is the service or edge that alone publishes to a topic.
type Owner string

// The owners of topics.
const (
	OwnerUser      Owner = "user"
	OwnerPlayback  Owner = "playback"
	OwnerSearch    Owner = "search"
	OwnerRecommend Owner = "recommend"
	OwnerPlaylist  Owner = "playlist"
	OwnerLibrary   Owner = "library"
	OwnerSocial    Owner = "social"
	OwnerMetadata  Owner = "metadata"
	OwnerUpload    Owner = "upload"
	OwnerBilling   Owner = "billing"
	OwnerCollect   Owner = "collect"
)

// The topics, each name written here and nowhere else.
const (
	UserIdentity      = "user-identity-events"
	Playback          = "playback-events"
	TrackPlayed       = "track-played-events"
	Search            = "search-events"
	Recommendation    = "recommendation-events"
	Playlist          = "playlist-events"
	Library           = "library-events"
	Social            = "social-events"
	Catalogue         = "catalogue-events"
	Upload            = "upload-events"
	Billing           = "billing-events"
	ClientDiagnostics = "client-diagnostics"
)

// Topic describes one topic.
type Topic struct {
	Name  string
	Owner Owner
	// Key says what a record's key is; order is kept per key.
	Key string
	// Partitions in a cluster; the embedded log has one per topic.
	Partitions int32
	// Retention is how long the log keeps records; 0 keeps them forever. What must stay
	// longer is in the lake.
	Retention time.Duration
}

const day = 24 * time.Hour

// Topics are all topics. State that is rebuilt from the log alone is kept forever.
func Topics() []Topic {
	return []Topic{
		{UserIdentity, OwnerUser, "user id", 12, 0},
		{Playback, OwnerPlayback, "user id", 48, 30 * day},
		{TrackPlayed, OwnerPlayback, "user id", 48, 400 * day},
		{Search, OwnerSearch, "user id", 12, 30 * day},
		{Recommendation, OwnerRecommend, "user id", 12, 30 * day},
		{Playlist, OwnerPlaylist, "playlist id", 24, 0},
		{Library, OwnerLibrary, "user id", 24, 0},
		{Social, OwnerSocial, "user id", 12, 0},
		{Catalogue, OwnerMetadata, "entity id", 12, 0},
		{Upload, OwnerUpload, "upload id", 12, 400 * day},
		{Billing, OwnerBilling, "account id", 12, 0},
		{ClientDiagnostics, OwnerCollect, "device id", 12, 14 * day},
	}
}

// known is Topics once: every event that is written is held against it.
var known = sync.OnceValue(Topics) //nolint:gochecknoglobals // a constant

// Lookup finds a topic by name.
func Lookup(name string) (Topic, bool) {
	all := known()
	if i := slices.IndexFunc(all, func(t Topic) bool { return t.Name == name }); i >= 0 {
		return all[i], true
	}
	return Topic{}, false
}

// CheckOwner refuses, with ErrNotOwner, a topic that owner may not publish to.
func CheckOwner(owner Owner, topic string) error {
	t, ok := Lookup(topic)
	if !ok {
		return fmt.Errorf("%w: %s", ErrTopic, topic)
	}
	if t.Owner != owner {
		return fmt.Errorf("%w: %s belongs to %s, not %s", ErrNotOwner, topic, t.Owner, owner)
	}
	return nil
}

// Publisher appends events to the topics of one owner.
type Publisher struct {
	log   Log
	owner Owner
}

// NewPublisher makes the publisher of owner.
func NewPublisher(log Log, owner Owner) *Publisher { return &Publisher{log: log, owner: owner} }

// Publish appends events with one key and returns when they are durable. An event without
// a trace id gets that of ctx.
func (p *Publisher) Publish(ctx context.Context, topic, key string, envs ...*eventv1.Envelope) error {
	recs := make([]Record, len(envs))
	for i, e := range envs {
		Trace(ctx, e)
		value, err := Marshal(e)
		if err != nil {
			return fmt.Errorf("publish to %s: %w", topic, err)
		}
		recs[i] = Record{Topic: topic, Key: []byte(key), Value: value}
	}
	return p.Append(ctx, recs...)
}

// Append appends records that are encoded already, as an outbox holds them.
func (p *Publisher) Append(ctx context.Context, recs ...Record) (err error) {
	for _, r := range recs {
		if err := CheckOwner(p.owner, r.Topic); err != nil {
			return err
		}
	}
	ctx, sp := span.Start(ctx, "event log append")
	defer func() { span.End(sp, err) }()
	if sp.IsRecording() {
		sp.SetAttributes(attribute.Int("segue.events", len(recs)))
	}
	return p.log.Append(ctx, recs...)
}
