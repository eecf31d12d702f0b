package attack

import (
	"bufio"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// site is the policy under attack. Reading and writing the public part and the
// admin part each need their own scope; anything else has no rule at all.
const site = `
@read   {
	path /public/*
	method GET HEAD
}
@write  {
	path /public/*
	method POST PUT PATCH DELETE
}
@admin  path /admin/*
@news   path /news/*
@health path /health
api_key {
	from bearer
	from header X-API-Key
	from query api_key
	public   @health
	optional @news
	require  @read  read
	require  @write write
	require  @admin admin
	forward id    X-Key-Id
	forward org   X-Key-Org
	forward name  X-Key-Name
	forward owner X-Key-Owner
}
reverse_proxy {$UPSTREAM}`

// caller is a key of the scene.
type caller struct{ id, token string }

func (c caller) bearer() string { return "Authorization: Bearer " + c.token }
func (c caller) header() string { return "X-API-Key: " + c.token }
func (c caller) query() string  { return "api_key=" + c.token }

// scene is the server of one case, with four keys: a reader, a writer, an
// administrator, and a reader bound to addresses that no test can come from.
type scene struct {
	*rig.Rig
	t *testing.T

	reader, writer, admin, bound caller
	secrets                      []string // what must be in no log and no refusal
	logged                       int64    // bytes in the log before the case
}

// attack is one case.
type attack struct {
	name string // class, number, what it tries
	run  func(s *scene)
}

// classes lists the cases of every class, each in a file of its own.
var classes = [][]attack{
	extraction,
	paths,
	identities,
	addresses,
	signatures,
	forgeries,
	captures,
	lifecycle,
	management,
	exposure,
	storage,
	protocol,
	oracles,
	exhaustion,
	trail,
	limits,
	tells,
	leaks,
	floods,
	ruins,
	spellings,
}

// TestAttack runs every case against a server of its own class. Whatever a case
// does, no secret may be in the logs afterwards.
func TestAttack(t *testing.T) {
	var names []string
	r := rig.New(t, "", site)
	for _, cases := range classes {
		for _, c := range cases {
			if slices.Contains(names, c.name) {
				t.Fatalf("two cases are called %s", c.name)
			}
			names = append(names, c.name)
			t.Run(c.name, func(t *testing.T) {
				s := newScene(t, r)
				defer s.searchLogs()
				c.run(s)
			})
		}
	}
}

// newScene loads the usual site, which a case before may have replaced, and
// makes fresh keys.
func newScene(t *testing.T, r *rig.Rig) *scene {
	s := &scene{Rig: r.With(t), t: t, logged: logLength(t, r)}
	s.Upstream.Respond("")
	s.Load("", site)
	s.reader = s.key(`{"name":"reader","scopes":["read"]}`)
	s.writer = s.key(`{"name":"writer","scopes":["read","write"]}`)
	s.admin = s.key(`{"name":"administrator","scopes":["admin"]}`)
	s.bound = s.key(`{"name":"bound","scopes":["read"],"allow":["10.0.0.0/8"]}`)
	return s
}

// key creates a key.
func (s *scene) key(spec string) caller {
	s.t.Helper()
	id, token := s.Create(spec)
	s.secrets = append(s.secrets, token)
	return caller{id, token}
}

// refused sends a request by send, and checks that it is answered with one of
// the statuses, that nothing reaches the upstream and that the answer repeats no
// secret.
func (s *scene) refused(what string, send func() rig.Answer, statuses ...int) rig.Answer {
	s.t.Helper()
	before := s.Upstream.Hits()
	answer := send()
	if !slices.Contains(statuses, answer.Status) {
		s.t.Errorf("%s: status %d, want one of %v: %s", what, answer.Status, statuses, answer.Body)
	}
	if hits := s.Upstream.Hits() - before; hits != 0 {
		s.t.Errorf("%s: %d requests reached the upstream, the last one:\n%s", what, hits, s.mask(s.Upstream.Last()))
	}
	for _, secret := range s.secrets {
		if strings.Contains(string(answer.Body), secret) {
			s.t.Errorf("%s: the answer repeats a token", what)
		}
	}
	return answer
}

// accepted sends a request by send, and returns what the upstream got of it.
func (s *scene) accepted(what string, send func() rig.Answer) string {
	s.t.Helper()
	before := s.Upstream.Hits()
	if answer := send(); answer.Status != http.StatusOK {
		s.t.Errorf("%s: status %d, want 200: %s", what, answer.Status, answer.Body)
	}
	if hits := s.Upstream.Hits() - before; hits != 1 {
		s.t.Errorf("%s: %d requests reached the upstream, want 1", what, hits)
	}
	return s.Upstream.Last()
}

// get sends a GET by a client library.
func (s *scene) get(path string, headers ...string) func() rig.Answer {
	return func() rig.Answer { return s.Get(path, headers...) }
}

// request sends a request by a client library.
func (s *scene) request(method, path string, headers ...string) func() rig.Answer {
	return func() rig.Answer { return s.Request(method, path, headers...) }
}

// raw sends a request line and header lines as they are, which no client library
// would, and reads the first answer.
func (s *scene) raw(line string, headers ...string) func() rig.Answer {
	return s.bytes(line + "\r\nHost: " + s.Site + "\r\n" + lines(headers) + "Connection: close\r\n\r\n")
}

// bytes sends bytes as they are and reads the first answer.
func (s *scene) bytes(request string) func() rig.Answer {
	return func() rig.Answer {
		s.t.Helper()
		answer, err := s.exchange(request)
		if err != nil {
			s.t.Errorf("no answer to %.40q: %v", request, err)
		}
		return answer
	}
}

// exchange sends bytes on a connection of their own and reads one answer.
func (s *scene) exchange(request string) (rig.Answer, error) {
	conn, err := net.DialTimeout("tcp", s.Site, time.Minute)
	if err != nil {
		return rig.Answer{}, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	// The server may answer and close before it has read everything.
	_, _ = io.WriteString(conn, request)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return rig.Answer{}, err
	}
	defer resp.Body.Close()
	// The server may close with a reset when it has not read everything.
	body, _ := io.ReadAll(resp.Body)
	return rig.Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// newLogs returns what was logged since the case began.
func (s *scene) newLogs() string {
	s.t.Helper()
	file, err := os.Open(s.LogPath())
	if err != nil {
		s.t.Fatal(err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.NewSectionReader(file, s.logged, math.MaxInt64-s.logged))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

func logLength(t *testing.T, r *rig.Rig) int64 {
	t.Helper()
	info, err := os.Stat(r.LogPath())
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// searchLogs looks for every secret of the scene in everything logged since.
func (s *scene) searchLogs() {
	s.t.Helper()
	logs := s.newLogs()
	for _, secret := range s.secrets {
		if strings.Contains(logs, secret) {
			s.t.Error("a token is in the logs")
		}
	}
}

// mask makes a text fit for a test's output.
func (s *scene) mask(text string) string {
	for _, secret := range s.secrets {
		text = strings.ReplaceAll(text, secret, "[token]")
	}
	return text
}

func lines(headers []string) string {
	var b strings.Builder
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	return b.String()
}
