package docs_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// Every metric, label and value that the dashboard asks for is there.
func TestDashboard(t *testing.T) {
	labels, values, _ := labelsOfMetrics(t)
	// What this server has not observed or refused, another one has.
	values["reason"] = append(values["reason"], "quota-exceeded", "unknown_address")
	values["result"] = append(values["result"], firsts(read(t, "../caddyapikey/metrics.go"), `"(\w+)": +&s\.`)...)
	deniedLabels, denied := denyMetrics(t)
	maps.Copy(labels, deniedLabels)
	values["reason"] = append(values["reason"], denied...)
	var dashboard struct {
		SchemaVersion int
		Panels        []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct {
				Expr       string
				Datasource struct{ UID string }
			}
		}
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "grafana.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	if dashboard.SchemaVersion < 39 || len(dashboard.Panels) < 10 {
		t.Errorf("schema %d, %d panels", dashboard.SchemaVersion, len(dashboard.Panels))
	}
	variables := make(map[string]bool)
	var exprs []string
	for _, v := range dashboard.Templating.List {
		variables[v.Name] = true
		if v.Definition != "" {
			exprs = append(exprs, v.Definition)
		}
	}
	ids := make(map[int]bool)
	for _, panel := range dashboard.Panels {
		if ids[panel.ID] || len(panel.Targets) == 0 || panel.GridPos.X+panel.GridPos.W > 24 {
			t.Errorf("panel %q: id %d, %d targets, at %v", panel.Title, panel.ID, len(panel.Targets), panel.GridPos)
		}
		ids[panel.ID] = true
		for _, target := range panel.Targets {
			if target.Datasource.UID != "${datasource}" {
				t.Errorf("panel %q asks the data source %q", panel.Title, target.Datasource.UID)
			}
			exprs = append(exprs, target.Expr)
		}
	}
	asked := make(map[string]bool)
	for _, expr := range exprs {
		for _, fault := range checkExpr(expr, labels, values, asked) {
			t.Errorf("%s: %s", expr, fault)
		}
		for _, name := range firsts(expr, `\$(\w+)`) {
			if !variables[name] && name != "__rate_interval" {
				t.Errorf("%s: no variable $%s", expr, name)
			}
		}
	}
	for name := range labels {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"), "_sum")
		if !asked[base] && !asked[base+"_bucket"] {
			t.Errorf("no panel shows %s", base)
		}
	}
	// The check itself notices what is wrong.
	for _, expr := range []string{`caddy_api_keys_key`, `caddy_api_keys_keys{site="x"}`, `sum by (site) (caddy_api_keys_keys)`, `caddy_api_keys_decisions_total{result="denied"}`, `up`} {
		if len(checkExpr(expr, labels, values, asked)) == 0 {
			t.Errorf("%s is not noticed", expr)
		}
	}
}

// denyMetrics returns the metrics of deny lists with their labels, and the reasons
// of the decisions of a server that refuses an address of one.
func denyMetrics(t *testing.T) (labels map[string][]string, reasons []string) {
	list := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(list, []byte("127.0.0.0/8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := rig.New(t, "", "api_key {\ndeny "+list+"\nrequire *\n}\nrespond ok")
	r.Get("/")
	labels = make(map[string][]string)
	for name, family := range scrapeAll(t, r) {
		for _, label := range family.GetMetric()[0].GetLabel() {
			if strings.HasPrefix(name, "caddy_api_keys_deny_list_") {
				labels[name] = append(labels[name], label.GetName())
			}
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if name == "caddy_api_keys_decisions_total" && label.GetName() == "reason" {
					reasons = append(reasons, label.GetValue())
				}
			}
		}
	}
	return labels, reasons
}

// checkExpr returns what is wrong with the metrics and labels of an expression.
func checkExpr(expr string, labels, values map[string][]string, asked map[string]bool) (faults []string) {
	known := []string{"instance", "job"} // which Prometheus adds
	found := regexp.MustCompile(`(caddy_api_keys_\w+)(?:\{([^}]*)\})?`).FindAllStringSubmatch(expr, -1)
	if len(found) == 0 {
		faults = append(faults, "no metric of ours")
	}
	grouped := slices.Clone(known)
	for _, m := range found {
		own, ok := labels[m[1]]
		if !ok {
			faults = append(faults, "no metric "+m[1])
		}
		asked[m[1]] = true
		grouped = append(grouped, own...)
		for _, matcher := range regexp.MustCompile(`(\w+)(=~|=|!=|!~)"([^"]*)"`).FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(own, matcher[1]) && !slices.Contains(known, matcher[1]) {
				faults = append(faults, m[1]+" has no label "+matcher[1])
			}
			if !strings.HasPrefix(matcher[3], "$") && !slices.Contains(values[matcher[1]], matcher[3]) {
				faults = append(faults, "no "+matcher[1]+" is "+matcher[3])
			}
		}
	}
	for _, list := range firsts(expr, `by \(([^)]*)\)`) {
		for _, label := range strings.Split(list, ", ") {
			if !slices.Contains(grouped, label) {
				faults = append(faults, "grouped by "+label)
			}
		}
	}
	for _, label := range firsts(expr, `label_values\([^,]*, (\w+)\)`) {
		if !slices.Contains(grouped, label) {
			faults = append(faults, "values of "+label)
		}
	}
	return faults
}
