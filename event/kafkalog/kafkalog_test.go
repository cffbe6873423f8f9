package kafkalog_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/kafkalog"
	"github.com/segue-music/segue/event/logtest"
)

func TestLog(t *testing.T) {
	logtest.Run(t, func(t *testing.T) event.Log {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cluster.Close)
		l, err := kafkalog.Open(t.Context(), kafkalog.Options{Seeds: cluster.ListenAddrs(), Replicas: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	})
}
