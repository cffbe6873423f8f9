//go:build engines

package testengine_test

import (
	"net"
	"testing"

	"github.com/segue-music/segue/internal/testengine"
)

func TestCassandra_Restart(t *testing.T) {
	c := testengine.Cassandra(t)
	c.Crash()
	if conn, err := net.Dial("tcp", c.Host); err == nil {
		_ = conn.Close()
		t.Error("a node that has crashed takes connections")
	}
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", c.Host)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}
