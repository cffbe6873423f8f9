//go:build system && fault

package system

import (
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
)

// TestFault_KeyRotation is rotated in both shapes.
func TestFault_KeyRotation(t *testing.T) { eachShape(t, rotated, rotation...) }

// TestFault_RefreshFamilies: two tabs refresh at the same moment, for many rounds, across
// restarts: both get good tokens and nobody is signed out. A token of the past ends its
// whole family, also after a restart, and is told in the audit.
func TestFault_RefreshFamilies(t *testing.T) {
	d := single(t, "-user.login-per-ip=1000", "-http.rate.login-per-ip=10000+10000")
	admin := d.admin()
	p := d.listener(admin, "two-tabs")
	thief := *p
	const rounds = 40
	same := 0
	for round := range rounds {
		tabs := []*person{{d: d, Name: p.Name, refresh: p.refresh}, {d: d, Name: p.Name, refresh: p.refresh}}
		var wg sync.WaitGroup
		errs := make([]error, len(tabs))
		for i, tab := range tabs {
			wg.Go(func() { errs[i] = tab.renew() })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			d.Fatalf("round %d: %v", round, err)
		}
		for _, tab := range tabs {
			if code := answerCode(d, tab.access); code != http.StatusOK {
				d.Errorf("round %d: a tab's access token is answered %d", round, code)
			}
		}
		if tabs[0].refresh == tabs[1].refresh {
			same++
		}
		p.refresh, p.access = tabs[round%2].refresh, tabs[round%2].access
		if round == rounds/2 {
			for _, proc := range d.procs {
				d.stop(proc)
				d.again(proc)
			}
			d.awaitAll()
		}
	}
	if same != rounds {
		d.Errorf("two tabs went different ways in %d of %d rounds", rounds-same, rounds)
	}
	// The thief has the first token. Using it ends everybody's.
	for _, proc := range d.procs {
		d.stop(proc)
		d.again(proc)
	}
	d.awaitAll()
	if err := thief.renew(); err == nil {
		d.Error("a token of the past is good")
	}
	if err := p.renew(); err == nil {
		d.Error("the family lives on after a token of the past was used")
	}
	if again := d.signIn("admin", adminPassword); len(d.events(again, "TokenFamilyRevoked", "user:"+p.ID)) != 1 {
		d.until(10*time.Second, "TokenFamilyRevoked", func() error {
			if n := len(d.events(again, "TokenFamilyRevoked", "")); n != 1 {
				return errorf("%d events", n)
			}
			return nil
		})
	}
	// Sign out everywhere: a changed password ends the other devices, each with an event.
	q := d.listener(d.signIn("admin", adminPassword), "everywhere")
	devices := []*person{d.signIn(q.Name, personPass), d.signIn(q.Name, personPass)}
	if _, err := q.Accounts.ChangePassword(d.Context(), &userv1.ChangePasswordRequest{Current: personPass, Replacement: "another one of theirs"}); err != nil {
		d.Fatal(err)
	}
	for _, device := range devices {
		if device.renew() == nil {
			d.Error("a device is signed in after the password was changed elsewhere")
		}
	}
	if err := q.renew(); err != nil {
		d.Errorf("the device that changed it is signed out: %v", err)
	}
	d.Logf("two tabs at once in %d rounds and one restart: 0 sign-outs, one successor in %d; a token of the past: refused, family ended, told once", rounds, same)
	quietLog(d)
}

// answerCode is the status of GetMe for an access token.
func answerCode(d *deployment, token string) int {
	d.Helper()
	req, err := http.NewRequestWithContext(d.Context(), http.MethodPost, d.URL+"/segue.user.v1.AccountService/GetMe", http.NoBody)
	if err != nil {
		d.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/proto")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		d.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}
