package upload

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	tus "github.com/tus/tusd/v2/pkg/handler"
	"github.com/tus/tusd/v2/pkg/memorylocker"
	"golang.org/x/exp/slog" // what tusd takes

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/identity"
)

// tusHandler serves resumable uploads (tus 1.0: core, creation, creation-with-upload,
// termination). Nothing can be downloaded, concatenated or begun without its length.
// The owner is checked where an upload is read, so on every verb.
func (s *Service) tusHandler() http.Handler {
	store := &tusStore{s}
	composer := tus.NewStoreComposer()
	composer.UseCore(store)
	composer.UseTerminater(store)
	memorylocker.New().UseIn(composer)
	h, err := tus.NewHandler(tus.Config{
		StoreComposer: composer, BasePath: tusPrefix, MaxSize: s.cfg.MaxSize,
		DisableDownload: true, DisableConcatenation: true,
		Cors: &tus.CorsConfig{Disable: true}, // the gateway's
		// It logs every request and its path; what goes wrong is logged by the store.
		Logger: slog.New(slog.NewTextHandler(discard{}, &slog.HandlerOptions{Level: slog.LevelError + 1})),
	})
	if err != nil {
		// Only a configuration that is written above can be wrong.
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, fault.Public(err), http.StatusInternalServerError)
		})
	}
	return s.admit(http.StripPrefix(tusPrefix, h))
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// admit lets uploaders through, and no request that tusd would take for something else.
func (s *Service) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := identity.From(r.Context())
		var err error
		switch {
		case who.UserID == "" && len(who.Roles) == 0:
			err = fault.New(fault.Unauthenticated, "sign in to upload")
		case who.UserID == "" || !who.Has(authv1.Role_ROLE_ARTIST, authv1.Role_ROLE_LABEL, authv1.Role_ROLE_ADMIN):
			err = ErrNotUploader
		case r.Header.Get("X-HTTP-Method-Override") != "":
			err = ErrRefused.With("the method cannot be overridden")
		case r.Header.Get("Upload-Concat") != "":
			err = ErrRefused.With("uploads cannot be concatenated")
		case r.Header.Get("Upload-Defer-Length") != "":
			err = ErrRefused.With("the length has to be known from the beginning")
		case r.Method == http.MethodPost && r.Header.Get("Upload-Length") == "0":
			err = ErrRefused.With("the file is empty")
		}
		if err != nil {
			w.Header().Set("Tus-Resumable", "1.0.0")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			http.Error(w, fault.Public(err), fault.HTTPStatus(err))
			return
		}
		next.ServeHTTP(&pathOnly{ResponseWriter: w}, r)
	})
}

// pathOnly makes the Location of a new upload a path: which host the client came by, only
// the client knows.
type pathOnly struct {
	http.ResponseWriter
	wrote bool
}

func (p *pathOnly) WriteHeader(status int) {
	if at := p.Header().Get("Location"); at != "" && !p.wrote {
		if u, err := url.Parse(at); err == nil {
			p.Header().Set("Location", u.EscapedPath())
		}
	}
	p.wrote = true
	p.ResponseWriter.WriteHeader(status)
}

func (p *pathOnly) Write(b []byte) (int, error) {
	if !p.wrote {
		p.WriteHeader(http.StatusOK)
	}
	return p.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController set deadlines.
func (p *pathOnly) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// tusError is what the client is told; tusd would send the text of any other error.
func (s *Service) tusError(err error) error {
	var own tus.Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	err = fault.Disk(err)
	status := fault.HTTPStatus(err)
	switch {
	case errors.Is(err, ErrNotFound):
		return tus.ErrNotFound
	case errors.Is(err, ErrQuota):
		status = http.StatusRequestEntityTooLarge // not 429: waiting does not help
	case fault.KindOf(err) == 0:
		s.Log.Error("receive upload", "err", err)
		err, status = errUnavailable, http.StatusInternalServerError
	}
	code := "ERR_" + strings.ToUpper(fault.KindOf(err).String())
	return tus.NewError(code, fault.Public(err), status)
}
