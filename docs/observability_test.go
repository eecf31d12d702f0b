package docs_test

import (
	"context"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

func init() { caddy.RegisterModule(execHandler{}) }

// execHandler stands for the module of caddy-events-exec, with its syntax. It
// says what would be run instead of running it.
type execHandler struct {
	Command string   `json:"command,omitempty"`
	Args    []string `json:"args,omitempty"`
}

var executed = make(chan []string, 100)

func (execHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.exec", New: func() caddy.Module { return new(execHandler) }}
}

func (h *execHandler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.Args(&h.Command) {
		return d.ArgErr()
	}
	h.Args = d.RemainingArgs()
	return nil
}

func (h *execHandler) Handle(ctx context.Context, _ caddy.Event) error {
	repl := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	line := []string{h.Command}
	for _, arg := range h.Args {
		line = append(line, repl.ReplaceAll(arg, ""))
	}
	executed <- line
	return nil
}

const watched = "log\napi_key {\nname crm\npublic /health\nrequire /v1/* contacts:read\n}\nrespond ok"

// The example of events runs programs with what it says.
func TestExampleOfEvents(t *testing.T) {
	example := firstFence(section(read(t, "observability.md"), "## Events"))
	global := regexp.MustCompile(`(?s)^\{\n(.*)\n\}\n$`).FindStringSubmatch(example)
	if global == nil {
		t.Fatalf("the example is no block of global options:\n%s", example)
	}
	r := rig.New(t, global[1], watched)
	id, token := r.Create(`{"name":"x"}`)
	if got := r.Get("/v1/x", "Authorization: Bearer "+token); got.Status != 403 {
		t.Fatal(got.Status)
	}
	if got := r.Manage("POST", "/keys/"+id+"/revoke", ""); got.Status != 200 {
		t.Fatal(got.Status)
	}
	var lines []string
	for range 2 {
		select {
		case line := <-executed:
			lines = append(lines, strings.Join(line, " "))
		case <-time.After(time.Minute):
			t.Fatalf("only %q was run", lines)
		}
	}
	slices.Sort(lines) // changes overtake refusals
	if want := []string{"/usr/local/bin/key-refused " + id + " insufficient_scope 127.0.0.1", "/usr/local/bin/key-revoked " + id}; !slices.Equal(lines, want) {
		t.Errorf("%q were run, want %q", lines, want)
	}
}

// The table of events has exactly those that there are.
func TestTableOfEvents(t *testing.T) {
	documented := rows(section(read(t, "observability.md"), "## Events"))
	real := firsts(read(t, "../adminapi/routes.go"), `event: "(\w+)"`)
	files, err := filepath.Glob("../caddyapikey/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		real = append(real, firsts(read(t, file), `(?m)^(?:const |\t)event[A-Z]\w+ += "(api_\w+)"`)...)
	}
	slices.Sort(documented)
	slices.Sort(real)
	if real = slices.Compact(real); len(real) < 10 || !slices.Equal(documented, real) {
		t.Errorf("documented %v\nreal       %v", documented, real)
	}
}

// The table of log fields has exactly those that are written, and user_id.
func TestTableOfLogFields(t *testing.T) {
	documented := rows(section(read(t, "observability.md"), "## Logs"))
	real := append(firsts(read(t, "../caddyapikey/access_log.go"), `(?:AddString|zap\.Strings)\("(\w+)"`), "user_id")
	slices.Sort(documented)
	slices.Sort(real)
	if len(real) < 5 || !slices.Equal(documented, real) {
		t.Errorf("documented %v\nreal       %v", documented, real)
	}
}

// labelsOfMetrics scrapes a server that has seen every kind of decision and of
// event, and returns the labels of each metric, and their values.
func labelsOfMetrics(t *testing.T) (labels map[string][]string, values map[string][]string, types map[string]string) {
	r := rig.New(t, "", watched)
	r.Create(`{"name":"x"}`)
	r.Get("/v1/x")
	r.Get("/health")
	families := scrapeAll(t, r)
	labels, values, types = make(map[string][]string), make(map[string][]string), make(map[string]string)
	for name, family := range families {
		if !strings.HasPrefix(name, "caddy_api_keys_") {
			continue
		}
		types[name] = strings.ToLower(family.GetType().String())
		names := make(map[string]bool)
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				names[label.GetName()] = true
				values[label.GetName()] = append(values[label.GetName()], label.GetValue())
			}
		}
		labels[name] = slices.Sorted(maps.Keys(names))
		if family.GetType() == dto.MetricType_HISTOGRAM {
			labels[name+"_bucket"] = []string{"le"}
			labels[name+"_count"], labels[name+"_sum"] = nil, nil
		}
	}
	if len(types) < 10 {
		t.Fatalf("%d metrics", len(types))
	}
	return labels, values, types
}

// The table of metrics has exactly those that there are, with type and labels.
func TestTableOfMetrics(t *testing.T) {
	labels, _, types := labelsOfMetrics(t)
	var real []string
	for name, kind := range types {
		real = append(real, name+" "+kind+" "+strings.Join(labels[name], " "))
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(caddy_api_keys_\\w+)` \\| (\\w+) \\|([^|]*)\\|").FindAllStringSubmatch(section(read(t, "observability.md"), "## Metrics"), -1) {
		named := firsts(m[3], "`(\\w+)`")
		slices.Sort(named)
		documented = append(documented, m[1]+" "+m[2]+" "+strings.Join(named, " "))
	}
	slices.Sort(real)
	slices.Sort(documented)
	if !slices.Equal(documented, real) {
		t.Errorf("documented\n%s\nreal\n%s", strings.Join(documented, "\n"), strings.Join(real, "\n"))
	}
}

// The site for a load balancer answers with the status of the health, and leads
// nowhere else.
func TestExampleForALoadBalancer(t *testing.T) {
	example := firstFence(section(read(t, "observability.md"), "### For a load balancer"))
	r := rig.New(t, "", watched)
	addr := rig.FreeAddr(t)
	example = strings.NewReplacer("http://:8081", "http://"+addr, "localhost:2019", r.Admin).Replace(example)
	if !strings.Contains(example, addr) || !strings.Contains(example, r.Admin) {
		t.Fatalf("the example has other addresses:\n%s", example)
	}
	r.Load("", watched+"\n}\n"+strings.TrimSuffix(strings.TrimSpace(example), "}"))
	id, _ := r.Create(`{"name":"x"}`)
	ask := func(method, path string, headers ...string) rig.Answer {
		req, err := http.NewRequest(method, "http://"+addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		return r.Do(req)
	}
	want := func(status int) {
		t.Helper()
		for _, headers := range [][]string{nil, {"Origin", "http://evil.example"}, {"Sec-Fetch-Mode", "cors"}} {
			if got := ask("GET", "/health?x=1", headers...); got.Status != status || len(got.Body) != 0 {
				t.Errorf("health with %v: %d %q, want %d", headers, got.Status, got.Body, status)
			}
		}
	}
	want(200)
	for _, c := range [][2]string{{"POST", "/health"}, {"DELETE", "/health"}, {"GET", "/"}, {"GET", "/health/"}, {"GET", "/health/../api_keys/keys"}, {"GET", "/api_keys/keys"},
		{"GET", "/api_keys/health"}, {"GET", "/config/"}, {"GET", "/health%2f..%2fconfig/"}, {"POST", "/api_keys/keys/" + id + "/revoke"}} {
		if got := ask(c[0], c[1]); got.Status != 404 || len(got.Body) != 0 {
			t.Errorf("%s %s: %d %q", c[0], c[1], got.Status, got.Body)
		}
	}
	if err := os.Rename(r.StorePath(), r.StorePath()+".away"); err != nil {
		t.Fatal(err)
	}
	want(503)
}

// The table of reasons has exactly those that there are.
func TestTableOfHealth(t *testing.T) {
	documented := rows(section(read(t, "observability.md"), "## Health"))
	real := append(firsts(read(t, "../keyring/health.go"), `Fault\w+ += "(\w+)"`), firsts(read(t, "../adminapi/health.go"), `v\.Reasons, faultView\{"(\w+)"`)...)
	real = append(real, firsts(read(t, "../caddyapikey/use_record.go"), `(?m)^const faultUse = "(\w+)"`)...)
	real = append(real, firsts(read(t, "../caddyapikey/limit_table.go"), `(?m)^const faultQuotas = "(\w+)"`)...)
	real = append(real, firsts(read(t, "../caddyapikey/audit_failure.go"), `(?m)^const faultAudit = "(\w+)"`)...)
	real = append(real, firsts(read(t, "../caddyapikey/deny.go"), `(?m)^const faultDeny = "(\w+)"`)...)
	real = append(real, firsts(read(t, "../caddyapikey/tier_check.go"), `(?m)^const faultTiers = "(\w+)"`)...)
	slices.Sort(documented)
	slices.Sort(real)
	if len(real) < 4 || !slices.Equal(documented, real) {
		t.Errorf("documented %v\nreal       %v", documented, real)
	}
}
