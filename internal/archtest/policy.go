// Package archtest holds the tree to its rules: who imports whom, who may use a driver,
// where a topic is named, how large a file grows. The policy is the data at the top of
// policy.go; the test also fails when a name in it no longer exists.
package archtest

// Module is the path of the module that the policy speaks of.
const Module = "github.com/segue-music/segue"

// Policy is the rules as data. Paths are folders below the module's root; one that ends
// in "/..." means the folder and all below it, and a "*" stands for one name.
type Policy struct {
	// Layers say what each part of the tree may import of this module, beside itself.
	// The first that matches a package counts; one that matches nothing is refused.
	Layers []Layer
	// Engines may be imported by EngineUsers only (rule 3).
	Engines     []string
	EngineUsers []string
	// Drivers are third-party import path prefixes and who may import them (rule 3).
	Drivers map[string][]string
	// TargetKnowers may speak of -target (rule 5).
	TargetKnowers []string
	// TopicsFile alone writes the names of topics (rule 6).
	TopicsFile string
	// LongFiles may be over 600 lines, WidePackages over the bounds; each with its reason (rule 7).
	LongFiles    map[string]string
	WidePackages map[string]string
	// BannedNames are no names for a package (rule 8).
	BannedNames []string
}

// Layer is one part of the tree.
type Layer struct {
	Packages string
	May      []string
}

// Bounds of rule 7.
const (
	maxFileLines    = 600
	maxMainLines    = 60
	maxWiringLines  = 120
	maxPackageFiles = 24
	maxPackageLines = 3600
)

// Segue is the policy of this tree.
func Segue() Policy {
	contracts := []string{"gen/..."}
	libraries := []string{"audio/...", "stream/..."}
	plumbing := append([]string{"internal/..."}, contracts...)
	service := append(append([]string{"event", "event/outbox/...", "event/listenerkeys"}, plumbing...), libraries...)
	return Policy{
		Layers: []Layer{
			{"gen/...", contracts},
			{"audio/...", []string{"audio/..."}},
			{"stream/...", libraries},
			{"web", nil},
			{"cmd/segue", []string{"internal/app", "audio/ffmpeg"}},
			{"cmd/seguectl/...", append([]string{"cmd/seguectl/..."}, append(contracts, libraries...)...)},
			{"internal/app/...", []string{"internal/...", "services/...", "edge/...", "event/...", "gen/...", "audio/...", "stream/...", "web"}},
			{"internal/...", append(plumbing, libraries...)},
			{"event/...", append([]string{"event/..."}, plumbing...)},
			{"services/charts/...", append([]string{"services/charts/..."}, service...)},
			{"services/metadata/...", append([]string{"services/metadata/..."}, service...)},
			{"services/playback/...", append([]string{"services/playback/..."}, service...)},
			{"services/upload/...", append([]string{"services/upload/...", "event/locallog"}, service...)},
			{"services/user/...", append([]string{"services/user/...", "event/locallog"}, service...)},
			{"services/warehouse/...", append([]string{"services/warehouse/..."}, service...)},
			{"edge/collect/...", append([]string{"edge/collect/..."}, service...)},
			{"edge/gateway/...", append([]string{"edge/gateway/..."}, service...)},
			{"edge/stream/...", append([]string{"edge/stream/..."}, service...)},
			{"test/seed/...", append([]string{"test/seed/...", "internal/keyring", "internal/rpc"}, append(contracts, libraries...)...)},
			{"test/logbench", []string{"event", "event/locallog", "internal/sqlitedb"}},
			{"test/eventbench", append([]string{"event", "test/built", "test/person", "test/proc"}, append(contracts, libraries...)...)},
			{"test/engines", []string{"internal/testengine", "test/running"}},
			{"test/...", append([]string{"test/..."}, append(contracts, libraries...)...)},
		},
		Engines: []string{
			"services/*/sqlite", "services/*/postgres", "services/*/cassandra", "services/*/redis", "event/outbox/sqlitebox", "event/outbox/pgbox", "event/outbox/cassandrabox",
			"event/locallog", "event/kafkalog", "event/spool", "internal/ratelimit/redislimit",
			"internal/blob/localblob", "internal/blob/cloudblob", "internal/blob/cacheblob",
		},
		EngineUsers: []string{"internal/app/...", "event/spool", "services/*/sqlite", "services/*/postgres", "services/*/cassandra", "services/*/storetest", "test/logbench"},
		Drivers: map[string][]string{
			"modernc.org/sqlite":                       {"internal/sqlitedb"},
			"database/sql":                             {"internal/sqlitedb", "event/outbox/sqlitebox", "services/*/sqlite"},
			"github.com/jackc/pgx":                     {"internal/pgdb", "event/outbox/pgbox", "services/*/postgres"},
			"github.com/nats-io":                       {"test/logbench"},
			"github.com/twmb/franz-go":                 {"event/kafkalog", "internal/kafkaconn", "test/eventbench"},
			"github.com/redis":                         {"internal/redisdb"},
			"github.com/apache/cassandra-gocql-driver": {"internal/cassandradb"},
			"gocloud.dev":                              {"internal/blob/cloudblob"},
		},
		TargetKnowers: []string{"internal/app/..."},
		TopicsFile:    "event/topics.go",
		LongFiles:     map[string]string{},
		WidePackages: map[string]string{
			"internal/app":    "the only wiring: a small file for each target and each engine",
			"services/upload": "one run goes through all stages of the pipeline; what needs no run is in glance, measure, staging and watch",
		},
		BannedNames: []string{"util", "utils", "common", "helpers", "helper", "misc", "base", "types", "core"},
	}
}
