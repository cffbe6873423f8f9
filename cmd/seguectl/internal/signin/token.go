package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// answer is that of the token endpoint (RFC 6749, sections 5.1 and 5.2).
type answer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	Error        string `json:"error"`
	Description  string `json:"error_description"`
}

// Refresh turns a refresh token into the next tokens. The old one must not be used
// again once the new one is known: the server takes that for theft and ends the
// sign-in. ErrEnded says that it has ended.
func (c *Client) Refresh(ctx context.Context, refresh string) (Tokens, error) {
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {clientID}, "refresh_token": {refresh}}
	t, err := c.token(ctx, form)
	var lost *url.Error
	if errors.As(err, &lost) && ctx.Err() == nil {
		// The answer may have been lost on the way. For some seconds the server gives the
		// same successor again.
		t, err = c.token(ctx, form)
	}
	return t, err
}

func (c *Client) token(ctx context.Context, form url.Values) (Tokens, error) {
	asked := c.Now()
	a, status, err := c.post(ctx, "/oauth/token", form)
	switch {
	case err != nil:
		return Tokens{}, err
	case a.Error == "invalid_grant":
		return Tokens{}, ErrEnded
	case a.Error != "":
		return Tokens{}, fmt.Errorf("ask for tokens: %s", strings.TrimSpace(a.Error+" "+a.Description))
	case status != http.StatusOK:
		return Tokens{}, fmt.Errorf("ask for tokens: the server answers %d %s", status, http.StatusText(status))
	case a.AccessToken == "" || a.RefreshToken == "" || !strings.EqualFold(a.TokenType, "Bearer") || a.ExpiresIn <= 0:
		return Tokens{}, errors.New("ask for tokens: the answer is not complete")
	}
	return Tokens{
		Access: a.AccessToken, Refresh: a.RefreshToken,
		Expires: asked.Add(time.Duration(min(a.ExpiresIn, 24*60*60)) * time.Second),
	}, nil
}

// Revoke ends a sign-in at the server.
func (c *Client) Revoke(ctx context.Context, refresh string) error {
	a, status, err := c.post(ctx, "/oauth/revoke", url.Values{
		"client_id": {clientID}, "token": {refresh}, "token_type_hint": {"refresh_token"},
	})
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("the server answers %d %s", status, strings.TrimSpace(a.Error+" "+a.Description))
	}
	if err != nil {
		return fmt.Errorf("sign out at the server: %w", err)
	}
	return nil
}

func (c *Client) post(ctx context.Context, path string, form url.Values) (answer, int, error) {
	var a answer
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Base.JoinPath(path).String(), strings.NewReader(form.Encode()))
	if err != nil {
		return a, 0, fmt.Errorf("ask for tokens: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	resp, err := c.client(nil).Do(req)
	if err != nil {
		return a, 0, fmt.Errorf("ask for tokens: %w", err)
	}
	defer resp.Body.Close()
	// A body that is no JSON leaves the answer empty; the status then says what there is.
	_ = json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&a)
	return a, resp.StatusCode, nil
}
