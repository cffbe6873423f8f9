package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/segue-music/segue/cmd/seguectl/internal/show"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
)

type keysCmd struct {
	List   keysListCmd   `cmd:"" help:"List the server's keys: never their secrets."`
	Rotate keysRotateCmd `cmd:"" help:"Make new keys. Nobody is signed out: old ones stay for as long as they are needed."`
}

type keysListCmd struct {
	JSON bool `name:"json" help:"Print an array of keys."`
}

func (c *keysListCmd) Run(ctx context.Context, r *run) error {
	_, a, err := r.api()
	if err != nil {
		return err
	}
	res, err := a.Keys().ListKeys(ctx, &userv1.ListKeysRequest{})
	if err != nil {
		return fmt.Errorf("list keys: %w", err)
	}
	return r.keys(c.JSON, res.GetKeys())
}

type keysRotateCmd struct {
	All     bool     `help:"Rotate every key."`
	Purpose []string `arg:"" optional:"" help:"Keys to rotate: master, ticket, tls-ticket, quic-token, signing, rpc, refresh, objects."`
	JSON    bool     `name:"json" help:"Print an array of the new keys."`
}

func (c *keysRotateCmd) Run(ctx context.Context, r *run) error {
	if c.All == (len(c.Purpose) > 0) {
		return errors.New("name the keys to rotate, or --all")
	}
	_, a, err := r.api()
	if err != nil {
		return err
	}
	res, err := a.Keys().RotateKeys(ctx, &userv1.RotateKeysRequest{Purposes: c.Purpose})
	if err != nil {
		return fmt.Errorf("rotate keys: %w", err)
	}
	return r.keys(c.JSON, res.GetKeys())
}

type keyJSON struct {
	Purpose   string    `json:"purpose"`
	ID        uint32    `json:"id"`
	Created   time.Time `json:"created"`
	InUseFrom time.Time `json:"in_use_from"`
	InUse     bool      `json:"in_use"`
}

func (r *run) keys(asJSON bool, list []*userv1.KeyInfo) error {
	out := make([]keyJSON, 0, len(list))
	for _, k := range list {
		out = append(out, keyJSON{
			k.GetPurpose(), k.GetId(), time.UnixMilli(k.GetCreatedUnixMs()).UTC(), time.UnixMilli(k.GetInUseFromUnixMs()).UTC(), k.GetInUse(),
		})
	}
	if asJSON {
		return show.JSON(r.Out, out)
	}
	var rows [][]string
	for _, k := range out {
		state := ""
		if k.InUse {
			state = "in use"
		}
		rows = append(rows, []string{k.Purpose, strconv.FormatUint(uint64(k.ID), 10), k.Created.Format(time.DateTime), k.InUseFrom.Format(time.DateTime), state})
	}
	return show.Table(r.Out, []string{"KEY", "ID", "CREATED", "IN USE FROM", "STATE"}, rows)
}
