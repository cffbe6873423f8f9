// Command eventbench measures the way of events: batches of apps by HTTPS through the
// gateway and the collector of the built segue into a real Kafka, and from there to a
// consumer. Everything, the producers and the broker too, shares this machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/segue-music/segue/test/built"
	"github.com/segue-music/segue/test/proc"
)

type options struct {
	bin, kafka       string
	producers, batch int
	rate             int
	length           time.Duration
	profile          string
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "folder of the built programs")
	flag.StringVar(&o.kafka, "kafka", "", "host:port of a broker, which gets Segue's topics")
	flag.IntVar(&o.producers, "producers", 16, "apps that send at a time, each as a listener of its own")
	flag.IntVar(&o.batch, "batch", 100, "events of a request")
	flag.IntVar(&o.rate, "rate", 50_000, "events per second of the paced round")
	flag.DurationVar(&o.length, "for", 20*time.Second, "how long each round is")
	flag.StringVar(&o.profile, "profile", "", "file for a CPU profile of segue in the first round")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, &o); err != nil {
		fmt.Fprintln(os.Stderr, "eventbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options) error {
	if o.kafka == "" {
		return errors.New("-kafka is needed")
	}
	dir, err := os.MkdirTemp("", "segue-eventbench-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// All apps come from one address, and each sends what a thousand listeners do.
	const many = "1000000"
	s, err := built.Start(ctx, o.bin, dir, "-event.kafka="+o.kafka, "-event.kafka-replicas=1", "-collect.rate="+many, "-collect.burst="+many,
		"-http.rate.events-per-ip="+many+"+"+many, "-http.rate.events-per-user="+many+"+"+many, "-user.login-per-ip="+many, "-http.rate.login-per-ip="+many+"+"+many, "-http.rate.page-per-ip="+many+"+"+many)
	if err != nil {
		return err
	}
	defer s.Stop()
	apps, err := signIn(ctx, s, o.producers)
	if err != nil {
		return s.Explain(err)
	}
	c, err := consume(ctx, strings.Split(o.kafka, ","))
	if err != nil {
		return err
	}
	defer c.close()
	fmt.Printf("%s; %d producers, %d events a request, %v each\n\n", proc.Model(), o.producers, o.batch, o.length)
	fmt.Println("| round | sent/s | consumed/s | consumed of sent | answer p50, p99 | end to end p50, p99, most | segue, µs of CPU an event | load |")
	fmt.Println("|---|--:|--:|--:|--:|--:|--:|---|")
	for _, r := range []struct {
		name string
		rate int
	}{{"as many as go", 0}, {fmt.Sprintf("%d a second", o.rate), o.rate}} {
		if err := round(ctx, o, s, apps, c, r.name, r.rate); err != nil {
			return s.Explain(fmt.Errorf("%s: %w", r.name, err))
		}
	}
	return nil
}

// round sends for a while and waits until all is consumed.
func round(ctx context.Context, o *options, s *built.Segue, apps []*app, c *consumer, name string, rate int) error {
	before := c.reset()
	profiled := func() error { return nil }
	if o.profile != "" && rate == 0 {
		profiled = s.Profile(ctx, o.profile, o.length)
	}
	cpu, began := proc.CPU(s.PID), time.Now()
	sent, answers, err := send(ctx, apps, o.batch, rate, o.length)
	if err != nil {
		return err
	}
	took := time.Since(began)
	if err := profiled(); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	if err := proc.Until(ctx, time.Minute, func() error {
		if n := c.count() - before; n < sent {
			return fmt.Errorf("%d of %d events were consumed", n, sent)
		}
		return nil
	}); err != nil {
		return err
	}
	all := time.Since(began)
	used := proc.CPU(s.PID) - cpu
	got := c.count() - before
	late := c.latencies()
	fmt.Printf("| %s | %.0f | %.0f | %d of %d | %v, %v | %v, %v, %v | %.1f | %s |\n", name, float64(sent)/took.Seconds(), float64(got)/all.Seconds(), got, sent,
		ms(quantile(answers, .5)), ms(quantile(answers, .99)), ms(quantile(late, .5)), ms(quantile(late, .99)), ms(quantile(late, 1)),
		float64(used.Microseconds())/float64(sent), proc.Load())
	return nil
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
