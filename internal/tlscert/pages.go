package tlscert

import (
	"bytes"
	"embed"
	"encoding/pem"
	"html/template"
	"net/http"
	"strconv"
	"time"
)

//go:embed pages
var pageFiles embed.FS

// pages tell in plain words how to trust the local CA, and give it out.
func (s *selfSource) pages() http.Handler {
	page := template.Must(template.ParseFS(pageFiles, "pages/trust.html"))
	var html bytes.Buffer
	err := page.Execute(&html, struct {
		Name, Fingerprint, Until string
	}{s.ca.cert.Subject.CommonName, fingerprint(s.ca.cert), s.ca.cert.NotAfter.Format(time.DateOnly)})
	style, styleErr := pageFiles.ReadFile("pages/trust.css")
	if err != nil || styleErr != nil {
		panic("tlscert: the embedded pages are broken") // a test renders them
	}
	mux := http.NewServeMux()
	serve := func(pattern, kind, file string, body []byte) {
		mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h.Set("Content-Type", kind)
			h.Set("Content-Length", strconv.Itoa(len(body)))
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'")
			h.Set("Cache-Control", "no-cache")
			if file != "" {
				h.Set("Content-Disposition", `attachment; filename="`+file+`"`)
			}
			_, _ = w.Write(body) // a client that went away
		})
	}
	serve("/trust", "text/html; charset=utf-8", "", html.Bytes())
	serve("/trust/style.css", "text/css; charset=utf-8", "", style)
	serve("/trust/ca.crt", "application/x-x509-ca-cert", "segue-ca.crt", s.ca.cert.Raw)
	serve("/trust/ca.pem", "application/x-pem-file", "segue-ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.ca.cert.Raw}))
	return mux
}
