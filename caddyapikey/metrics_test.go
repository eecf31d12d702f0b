package caddyapikey_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// scrape reads the metrics of this module from Caddy's admin endpoint.
func scrape(t *testing.T, r *rig.Rig) map[string]*dto.MetricFamily {
	t.Helper()
	resp, err := http.Get("http://" + r.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d %v %s", resp.StatusCode, err, text)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(families, func(name string, _ *dto.MetricFamily) bool { return !strings.HasPrefix(name, "caddy_api_keys_") })
	return families
}

// metricOf returns the value of one series, 0 if there is none.
func metricOf(t *testing.T, r *rig.Rig, name string, labels ...string) float64 {
	t.Helper()
	return valueOf(scrape(t, r), name, labels...)
}

func valueOf(families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	for _, m := range families[name].GetMetric() {
		values := make(map[string]string)
		for _, l := range m.GetLabel() {
			values[l.GetName()] = l.GetValue()
		}
		match := true
		for i := 0; i < len(labels); i += 2 {
			match = match && values[labels[i]] == labels[i+1]
		}
		if match {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return 0
}

func series(families map[string]*dto.MetricFamily) (n int) {
	for _, f := range families {
		n += len(f.GetMetric())
	}
	return n
}

func named(name, site string) string {
	return strings.Replace(site, "api_key {", "api_key {\nname "+name, 1)
}

func TestMetrics(t *testing.T) {
	const decisions = "caddy_api_keys_decisions_total"
	site := fmt.Sprintf("metrics-%d", time.Now().UnixNano()) // counters live as long as the process
	r := rig.New(t, "", named(site, guarded))
	r.Manage("PUT", "/orgs/acme", `{}`)
	id, token := r.Create(`{"name":"x","org":"acme","scopes":["contacts:read"]}`)
	bearer := "Authorization: Bearer " + token
	for range 3 {
		r.Get("/v1/contacts", bearer)
	}
	r.Get("/health")
	r.Request("OPTIONS", "/news/1")
	r.Get("/v1/contacts")
	r.Get("/v1/contacts", bearer+"x")
	r.Request("POST", "/v1/contacts", bearer)
	r.Request("DELETE", "/v1/contacts", bearer)
	count := func(result, reason string) float64 {
		return metricOf(t, r, decisions, "site", site, "result", result, "reason", reason)
	}
	want := func(when string, wants map[[2]string]float64) {
		t.Helper()
		for labels, want := range wants {
			if got := count(labels[0], labels[1]); got != want {
				t.Errorf("%s: %v is %v, want %v", when, labels, got, want)
			}
		}
	}
	first := map[[2]string]float64{{"allowed", ""}: 3, {"public", ""}: 1, {"anonymous", ""}: 1, {"refused", "missing_credential"}: 1, {"refused", "invalid_key"}: 1, {"refused", "insufficient_scope"}: 2}
	want("at first", first)

	t.Run("gauges", func(t *testing.T) {
		families := scrape(t, r)
		for name, want := range map[string]float64{"credentials": 1, "orgs": 1, "damaged_records": 0, "index_revision": 2} {
			if got := valueOf(families, "caddy_api_keys_"+name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		if age := valueOf(families, "caddy_api_keys_index_age_seconds"); age < 0 || age > 5 {
			t.Errorf("the index is %v s old", age)
		}
	})
	t.Run("keys by state", func(t *testing.T) {
		id, _ := r.Create(`{"name":"of many states"}`)
		for _, step := range []struct {
			do   string
			want [3]float64 // active, suspended, revoked
		}{
			{"", [3]float64{2, 0, 0}},
			{"suspend", [3]float64{1, 1, 0}},
			{"resume", [3]float64{2, 0, 0}},
			{"revoke", [3]float64{1, 0, 1}},
			{"delete", [3]float64{1, 0, 0}},
		} {
			switch step.do {
			case "":
			case "delete":
				r.Manage("DELETE", "/keys/"+id, "")
			default:
				r.Manage("POST", "/keys/"+id+"/"+step.do, "")
			}
			families := scrape(t, r)
			for i, state := range []string{"active", "suspended", "revoked"} {
				if got := valueOf(families, "caddy_api_keys_keys", "state", state); got != step.want[i] {
					t.Errorf("%s: %v keys are %s, want %v", step.do, got, state, step.want[i])
				}
			}
		}
	})
	t.Run("over reloads", func(t *testing.T) {
		generation, commits := metricOf(t, r, "caddy_api_keys_config_generation"), metricOf(t, r, "caddy_api_keys_store_commit_duration_seconds")
		r.Load("", named(site, guarded)+"\n")
		want("after a reload", first)
		r.Load("", named(site, strings.Replace(guarded, "api_key {", "api_key {\nmode observe", 1)))
		r.Get("/v1/contacts")
		want("observing", map[[2]string]float64{{"observed", "missing_credential"}: 1, {"refused", "missing_credential"}: 1})
		if got := metricOf(t, r, "caddy_api_keys_config_generation"); got != generation+2 {
			t.Errorf("generation %v, then %v", generation, got)
		}
		if err := r.TryLoad("api_keys {\nstore bolt "+r.Dir+"\n}", guarded); err == nil {
			t.Fatal("a directory was taken for a store")
		}
		want("after a rejected reload", first)
		if got := metricOf(t, r, "caddy_api_keys_keys", "state", "active"); got != 1 {
			t.Errorf("after a rejected reload there are %v keys", got)
		}
		r.Create(`{"name":"y"}`)
		if got := metricOf(t, r, "caddy_api_keys_store_commit_duration_seconds"); got != commits+1 {
			t.Errorf("%v commits, then %v", commits, got)
		}
	})
	t.Run("store errors", func(t *testing.T) {
		before := metricOf(t, r, "caddy_api_keys_store_commit_errors_total", "error", "unavailable")
		if err := os.Rename(r.StorePath(), r.StorePath()+".away"); err != nil {
			t.Fatal(err)
		}
		if got := r.Manage("POST", "/keys/"+id+"/suspend", ""); got.Status != 503 {
			t.Fatalf("%d %s", got.Status, got.Body)
		}
		families := scrape(t, r)
		if got := valueOf(families, "caddy_api_keys_store_commit_errors_total", "error", "unavailable"); got != before+1 {
			t.Errorf("%v errors, then %v", before, got)
		}
		for _, reason := range []string{"store_unavailable", "last_change_failed"} {
			if valueOf(families, "caddy_api_keys_degraded", "reason", reason) != 1 {
				t.Errorf("not degraded by %s", reason)
			}
		}
		if err := os.Rename(r.StorePath()+".away", r.StorePath()); err != nil {
			t.Fatal(err)
		}
		r.Manage("POST", "/keys/"+id+"/suspend", "")
		for _, m := range scrape(t, r)["caddy_api_keys_degraded"].GetMetric() {
			if m.GetGauge().GetValue() != 0 {
				t.Errorf("still degraded: %v", m)
			}
		}
	})
}

// What callers send adds no series.
func TestMetricSeriesAreBounded(t *testing.T) {
	r := rig.New(t, "", named("bounded", guarded))
	_, token := r.Create(`{"name":"x","scopes":["contacts:read"]}`)
	// One of each kind first.
	send := func(i int) {
		r.Get(fmt.Sprintf("/v1/contacts/%d", i), "Authorization: Bearer "+token, fmt.Sprintf("User-Agent: agent/%d", i), fmt.Sprintf("Host: h%d.example", i))
		r.Get(fmt.Sprintf("/v1/contacts/%d", i), fmt.Sprintf("Authorization: Bearer key-%d", i))
		r.Request(fmt.Sprintf("M%d", i), "/v1/contacts")
		r.Request("POST", fmt.Sprintf("/v1/contacts/%d", i), "Authorization: Bearer "+token)
	}
	send(0)
	before := series(scrape(t, r))
	for i := range 2500 { // of each of four kinds
		send(i + 1)
	}
	families := scrape(t, r)
	if got := series(families); got != before {
		t.Errorf("%d series became %d", before, got)
	}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if strings.Contains(label.GetValue(), "key_") && label.GetName() != "event" || strings.Contains(label.GetValue(), token) {
					t.Errorf("%s has the label %v", name, label)
				}
			}
		}
	}
}

// Configurations that are only validated leave nothing behind.
func TestValidateLeavesNoMetrics(t *testing.T) {
	r := rig.New(t, "", named("validated", guarded))
	r.Get("/health")
	before, generation := series(scrape(t, r)), metricOf(t, r, "caddy_api_keys_config_generation")
	for i := range 10 {
		config, err := rig.Adapt(fmt.Sprintf("{\napi_keys {\nstore bolt %s\n}\n}\nhttp://127.0.0.1:1 {\napi_key {\nname v%d\nrequire *\n}\n}\n", r.StorePath(), i))
		if err != nil {
			t.Fatal(err)
		}
		parsed := new(caddy.Config)
		if err := caddy.StrictUnmarshalJSON(config, parsed); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Validate(parsed); err != nil {
			t.Fatal(err)
		}
	}
	if got := series(scrape(t, r)); got != before || metricOf(t, r, "caddy_api_keys_config_generation") != generation {
		t.Errorf("%d series became %d", before, got)
	}
}

// A handler without a name is called after its server, also in its own log.
func TestSiteName(t *testing.T) {
	r := rig.New(t, "", guarded)
	before := metricOf(t, r, "caddy_api_keys_decisions_total", "site", "srv0", "result", "public")
	r.Get("/health")
	if got := metricOf(t, r, "caddy_api_keys_decisions_total", "site", "srv0", "result", "public"); got != before+1 {
		t.Errorf("%v, then %v", before, got)
	}
	r.Get("/v1/contacts")
	if !strings.Contains(r.Logs(), `"site":"srv0"`) {
		t.Error("the site is not in the log")
	}
	for _, name := range []string{`"a b"`, `"-x"`, strings.Repeat("x", 65), `"a\"b"`, "ä", `""`} {
		if err := r.TryLoad("", named(name, guarded)); err == nil || !strings.Contains(err.Error(), "name") {
			t.Errorf("the name %s: %v", name, err)
		}
	}
}
