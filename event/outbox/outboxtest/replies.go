package outboxtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
)

func once(ctx context.Context, o Opened) error {
	runs := 0
	for _, c := range []struct {
		name, caller, key, request, want string
		fail, err                        error
		later                            time.Duration
	}{
		{name: "fails", caller: "a", key: "k", request: "r", fail: errBoom, err: errBoom},
		{name: "first", caller: "a", key: "k", request: "r", want: "reply 2"},
		{name: "repeat", caller: "a", key: "k", request: "r", want: "reply 2"},
		{name: "other request", caller: "a", key: "k", request: "q", err: outbox.ErrKeyReused},
		{name: "other caller", caller: "b", key: "k", request: "r", want: "reply 3"},
		{name: "no key", caller: "a", err: outbox.ErrKeyMalformed},
		{name: "long key", caller: "a", key: strings.Repeat("k", 129), err: outbox.ErrKeyMalformed},
		{name: "before a day", caller: "a", key: "k", request: "r", want: "reply 2", later: outbox.KeepReplies - time.Second},
		{name: "after a day", caller: "a", key: "k", request: "q", want: "reply 4", later: time.Second},
		{name: "repeat of that", caller: "a", key: "k", request: "q", want: "reply 4"},
	} {
		o.Advance(c.later)
		var reply []byte
		err := o.Write(ctx, func(tx Tx) (err error) {
			reply, err = tx.Once(ctx, c.caller, c.key, []byte(c.request), func() ([]byte, error) {
				runs++
				return fmt.Appendf(nil, "reply %d", runs), c.fail
			})
			return err
		})
		if !errors.Is(err, c.err) || c.err == nil && (err != nil || string(reply) != c.want) {
			return fmt.Errorf("%s: got %q, %w, want %q, %w", c.name, reply, err, c.want, c.err)
		}
	}
	return nil
}

// onceRace calls with one key at the same time: one makes the change, all get its reply.
func onceRace(ctx context.Context, o Opened) error {
	var made atomic.Int32
	calls, ctx := errgroup.WithContext(ctx)
	replies := make([]string, 8)
	for i := range replies {
		calls.Go(func() error {
			return o.Write(ctx, func(tx Tx) error {
				reply, err := tx.Once(ctx, "a", "k", []byte("r"), func() ([]byte, error) {
					return fmt.Appendf(nil, "reply %d", made.Add(1)), tx.Add(ctx, event.Upload, "upload:1", Envelope("upload:1", 1))
				})
				replies[i] = string(reply)
				return err
			})
		})
	}
	if err := calls.Wait(); err != nil {
		return err
	}
	for _, r := range replies {
		if r == "" || r != replies[0] {
			return fmt.Errorf("replies %q", replies)
		}
	}
	return wantPending(context.WithoutCancel(ctx), o, 1)
}

func forget(ctx context.Context, o Opened) error {
	reply := func(key string) error {
		return o.Write(ctx, func(tx Tx) error {
			_, err := tx.Once(ctx, "a", key, nil, func() ([]byte, error) { return nil, nil })
			return err
		})
	}
	kept := func(when string, want int) error {
		n, err := o.Replies(ctx)
		return errors.Join(err, diff("replies kept "+when, want, n))
	}
	before := o.Source.Now()
	err := reply("old")
	o.Advance(time.Hour)
	err = errors.Join(err, reply("new"), o.Source.Forget(ctx), kept("at first", 2))
	o.Advance(outbox.KeepReplies - time.Hour)
	if passed := o.Source.Now().Sub(before); passed != outbox.KeepReplies {
		err = errors.Join(err, fmt.Errorf("the clock went on by %v", passed))
	}
	return errors.Join(err, o.Source.Forget(ctx), kept("after a day", 1))
}
