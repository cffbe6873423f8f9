package redis

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/segue-music/segue/internal/redisdb"
)

// scripts are what Redis does. A key holds "revision token value", where the value is empty
// in a mark and in what a miss leaves behind, and the token while nobody has missed it.
type scripts struct{ look, keep, mark redisdb.Script }

// entry reads a key.
const entry = `
local kept = redis.call("GET", KEYS[1])
local revision, token, value
if kept then revision, token, value = string.match(kept, "^(%d+) (%w*) (.*)$") end
`

func newScripts() scripts {
	return scripts{
		// Gives the value, or else the token by which it may be kept: that of the first who
		// missed it, or the one that comes along.
		look: redisdb.NewScript("user_look", entry+`
if value and value ~= "" then return {"", value} end
if token and token ~= "" then return {token, ""} end
if kept then
	redis.call("SET", KEYS[1], revision .. " " .. ARGV[1] .. " ", "KEEPTTL")
else
	redis.call("SET", KEYS[1], "0 " .. ARGV[1] .. " ", "PX", ARGV[2])
end
return {ARGV[1], ""}`),

		// Takes a value of ARGV[1]'s revision by the token of its miss. It is refused after a
		// mark, which drops the token; where the key has ended, or Redis has; and where it was
		// read ahead of the commit that the mark is for.
		keep: redisdb.NewScript("user_keep", entry+`
if not kept or token ~= ARGV[2] or tonumber(revision) > tonumber(ARGV[1]) then return {} end
redis.call("SET", KEYS[1], ARGV[1] .. "  " .. ARGV[3], "PX", ARGV[4])
return {}`),

		// A value of the mark's own revision stays: the change has been committed and read.
		mark: redisdb.NewScript("user_mark", entry+`
if kept then
	local newer = tonumber(revision) - tonumber(ARGV[1])
	if newer > 0 or newer == 0 and value ~= "" then return {} end
end
redis.call("SET", KEYS[1], ARGV[1] .. "  ", "PX", ARGV[2])
return {}`),
	}
}

// looked is what a look at the cache has shown.
type looked struct {
	key   string
	found bool
	// token is that of a miss; empty where Redis was not asked.
	token string
}

// look reads a key into a value.
func (s *Store) look(ctx context.Context, key string, into any) looked {
	l := looked{key: key}
	if s.dirty.has(key) {
		return l
	}
	token := s.name + strconv.FormatUint(s.misses.Add(1), 36)
	answer, err := s.redis.Do(ctx, s.scripts.look, key, token, s.times.miss.Milliseconds())
	if err != nil || len(answer) != 2 {
		return l // counted there, and the store answers
	}
	l.token, _ = answer[0].(string)
	text, _ := answer[1].(string)
	if text == "" || s.dirty.has(key) {
		return l
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		s.log.WarnContext(ctx, "cached value cannot be read", "key", key, "err", err)
		return l
	}
	l.found = true
	return l
}

// keep caches what the store gave after a miss.
func (s *Store) keep(ctx context.Context, l looked, revision uint64, v any) {
	if l.token == "" || s.dirty.has(l.key) {
		return
	}
	text, err := json.Marshal(v)
	if err != nil {
		s.log.WarnContext(ctx, "value cannot be cached", "key", l.key, "err", err)
		return
	}
	// Counted there; the next reader misses it again.
	_, _ = s.redis.Do(ctx, s.scripts.keep, l.key, revision, l.token, text, s.times.value.Milliseconds())
}
