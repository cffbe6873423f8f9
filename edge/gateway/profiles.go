package gateway

import (
	"net/http"
	"time"
)

// adminPath is where the pages for the role admin are.
const adminPath = "/admin"

// profileTime bounds the answer of a profile: the minute that one may take, and the way.
const profileTime = 75 * time.Second

// profiles serves a profile of this process to an admin. Profiles hold addresses and
// names of functions, and cost every listener something.
func (x *exchange) profiles() {
	if x.g.deps.Profiles == nil {
		x.refuse(notFound("route"))
		return
	}
	x.g.deps.Log.InfoContext(x.r.Context(), "profile", "request", x.id, "user", x.user, "path", x.r.URL.Path)
	http.StripPrefix(adminPath, x.g.deps.Profiles).ServeHTTP(x.w, x.r)
}
