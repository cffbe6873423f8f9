package signin

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// form is a login form.
type form struct {
	action         *url.URL
	hidden         url.Values
	user, password string // names of the fields
}

// page is what matters of a page of the server.
type page struct {
	form  *form  // nil where there is none
	alert string // the text of the element with role alert
	title string
}

// refusal is the error of a page that is not the one wanted.
func (p *page) refusal(resp *http.Response) error {
	text := p.alert
	if text == "" {
		text = p.title
	}
	if text == "" {
		text = "the server answers " + resp.Status
	}
	return &RefusedError{Status: resp.StatusCode, Text: text}
}

// readPage reads the page of a response.
func readPage(resp *http.Response) (*page, error) {
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != "text/html" {
		return &page{}, nil //nolint:nilerr // what is no HTML has no form
	}
	root, err := html.Parse(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("sign in: read page: %w", err)
	}
	p := &page{}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch {
		case attr(n, "role") == "alert" && p.alert == "":
			p.alert = text(n)
		case n.DataAtom == atom.Title && p.title == "":
			p.title = text(n)
		case n.DataAtom == atom.Form && p.form == nil:
			p.form = readForm(resp.Request.URL, n)
		}
	}
	return p, nil
}

// readForm reads a form with a name and a password to fill in; nil for any other.
func readForm(at *url.URL, n *html.Node) *form {
	if !strings.EqualFold(attr(n, "method"), http.MethodPost) {
		return nil // by GET the password would stand in the address
	}
	action, err := at.Parse(attr(n, "action"))
	if err != nil {
		return nil
	}
	f := &form{action: action, hidden: url.Values{}}
	for in := range n.Descendants() {
		name := attr(in, "name")
		if in.Type != html.ElementNode || in.DataAtom != atom.Input || name == "" {
			continue
		}
		switch strings.ToLower(attr(in, "type")) {
		case "hidden":
			f.hidden.Add(name, attr(in, "value"))
		case "password":
			f.password = name
		case "", "text", "email":
			f.user = name
		}
	}
	if f.user == "" || f.password == "" {
		return nil
	}
	return f
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key && a.Namespace == "" {
			return a.Val
		}
	}
	return ""
}

// text is the text inside a node, in one line.
func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
			b.WriteByte(' ')
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
