package app

import (
	"errors"
	"flag"
	"strconv"
	"strings"

	"github.com/segue-music/segue/internal/kafkaconn"
)

// eventConfig picks the engine of the event log.
type eventConfig struct {
	Kafka    kafkaconn.Config
	Prefix   string
	Replicas int
	Spool    string
}

// RegisterFlags adds the settings under prefix.
func (c *eventConfig) RegisterFlags(prefix string, fs *flag.FlagSet) {
	c.Kafka.RegisterFlags(prefix+".kafka", "for events; empty keeps them in the data folder", fs)
	fs.StringVar(&c.Prefix, prefix+".kafka-prefix", "", "what the names of topics and groups begin with, where several Segues share the brokers")
	fs.IntVar(&c.Replicas, prefix+".kafka-replicas", 0, "replicas of each topic that is made; of three or more two must have an event before it is acknowledged; 0 is the brokers' default")
	fs.StringVar(&c.Spool, prefix+".spool", "", "folder that keeps events while Kafka is away, true for one in the data folder; empty acknowledges events only once Kafka has them")
}

// Check refuses settings that cannot be meant.
func (c *eventConfig) Check() error {
	if c.Spool != "" && !c.Kafka.On() {
		return errors.New("event.spool is for events on their way to event.kafka, which is empty")
	}
	if len(c.Prefix) > 100 || strings.Trim(c.Prefix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
		return errors.New("event.kafka-prefix is not up to 100 letters, digits, dots, underscores and hyphens")
	}
	if c.Replicas < 0 || c.Replicas > 9 {
		return errors.New("event.kafka-replicas must be between 0 and 9")
	}
	return c.Kafka.Check()
}

// spoolFolder is where the spool lies; empty is none.
func (c *eventConfig) spoolFolder(own string) string {
	if on, err := strconv.ParseBool(c.Spool); err == nil {
		if !on {
			return ""
		}
		return own
	}
	return c.Spool
}
