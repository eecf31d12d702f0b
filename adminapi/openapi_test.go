package adminapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-apikey/caddy-apikey/usage"
)

// document is the parsed openapi.json.
func document(t *testing.T) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(openAPIDocument, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestOpenAPIHasEveryRoute(t *testing.T) {
	var documented, served []string
	for path, item := range document(t)["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			if method == "parameters" {
				continue
			}
			documented = append(documented, method+" "+path)
			var query []string
			params, _ := op.(map[string]any)["parameters"].([]any)
			for _, p := range params {
				p := resolve(t, document(t), p.(map[string]any))
				if p["in"] == "query" {
					query = append(query, p["name"].(string))
				}
			}
			for _, r := range routes {
				if r.path == path[1:] && strings.EqualFold(r.method, method) && !slices.Equal(slices.Sorted(slices.Values(query)), slices.Sorted(slices.Values(r.query))) {
					t.Errorf("%s %s: parameters %v are documented, %v are served", method, path, query, r.query)
				}
			}
		}
	}
	for _, r := range routes {
		served = append(served, strings.ToLower(r.method)+" /"+r.path)
	}
	slices.Sort(documented)
	slices.Sort(served)
	if !slices.Equal(documented, served) {
		t.Errorf("documented %v\nserved     %v", documented, served)
	}
}

// Every schema of an answer is what is really answered, and every example of a
// body is accepted.
func TestOpenAPISchemas(t *testing.T) {
	s := newServer(t)
	s.load("", `"api_keys":{},"lockouts":{}`)
	doc := document(t)
	s.do("PUT", "orgs/acme", `{}`).want(201)
	id, token := s.create(`"owner":"ops@acme.example"`)
	fill := strings.NewReplacer("{id}", id, "{org}", "acme", "{n}", "1", "{address}", "203.0.113.7")
	seen := make(map[string]bool)
	// In an order in which each one is possible.
	for _, call := range []string{
		"get /keys", "post /keys", "get /keys/{id}", "patch /keys/{id}", "post /keys/{id}/suspend", "post /keys/{id}/resume", "post /keys/{id}/rotate", "get /keys/{id}",
		"delete /keys/{id}/rotate", "post /keys/{id}/credentials", "get /keys/{id}/credentials", "delete /keys/{id}/credentials/{n}", "post /import", "post /identify", "post /reseal",
		"get /orgs", "get /orgs/{org}", "put /orgs/{org}", "patch /orgs/{org}", "post /orgs/{org}/suspend", "post /orgs/{org}/resume", "get /openapi.json",
		"get /keys/{id}/usage", "get /keys/{id}/suggest", "get /keys/{id}/calls", "get /register", "get /report", "get /observed",
		"post /lockouts", "get /lockouts", "delete /lockouts/{address}",
		"post /keys/{id}/revoke", "delete /keys/{id}", "get /backup", "get /health", "get /audit", "get /audit/verify", "post /erase",
	} {
		method, path, _ := strings.Cut(call, " ")
		seen[call] = true
		op := doc["paths"].(map[string]any)[path].(map[string]any)[method].(map[string]any)
		body := ""
		if in, ok := op["requestBody"].(map[string]any); ok {
			media := in["content"].(map[string]any)["application/json"].(map[string]any)
			text, _ := json.Marshal(media["example"])
			body = strings.ReplaceAll(string(text), "ck_example", token)
			if err := conforms(t, doc, media["schema"].(map[string]any), media["example"], "body"); err != nil {
				t.Errorf("%s: the example is not what the schema says: %v", call, err)
			}
		}
		target := fill.Replace(path[1:])
		switch call {
		case "get /report":
			target += "?key=" + id
		case "get /keys/{id}/usage":
			s.useKey(id, "203.0.113.7", func(u *usage.Use) {})
			s.useKey(id, "203.0.113.8", func(u *usage.Use) { u.Reason, u.Observed = usage.NumberOf("insufficient_scope"), true })
		case "post /keys/{id}/revoke", "delete /keys/{id}":
			target += "?force=true"
		}
		a := s.do(strings.ToUpper(method), target, body)
		response, ok := op["responses"].(map[string]any)[fmt.Sprint(a.status)].(map[string]any)
		if !ok || a.status >= 300 {
			t.Fatalf("%s: status %d: %s", call, a.status, a.body)
		}
		content, _ := response["content"].(map[string]any)
		media, _ := content["application/json"].(map[string]any)
		if media["schema"] == nil {
			continue
		}
		if err := conforms(t, doc, media["schema"].(map[string]any), a.tree(), "answer"); err != nil {
			t.Errorf("%s: %v\n%s", call, err, a.body)
		}
		if media["example"] != nil {
			if err := conforms(t, doc, media["schema"].(map[string]any), media["example"], "example"); err != nil {
				t.Errorf("%s: %v", call, err)
			}
		}
	}
	for _, r := range routes {
		if call := strings.ToLower(r.method) + " /" + r.path; !seen[call] {
			t.Errorf("%s is not tested", call)
		}
	}
	problem := map[string]any{"$ref": "#/components/schemas/Problem"}
	used, _ := s.create("")
	s.useKey(used, "203.0.113.7", func(*usage.Use) {})
	for _, a := range []reply{s.do("POST", "keys/"+used+"/revoke", ""), s.do("GET", "nothing", ""), s.do("POST", "keys", `{}`), s.do("POST", "import", `{"keys":[{"name":"","token":"x"},{"name":"x"}]}`)} {
		if err := conforms(t, doc, problem, a.tree(), "problem"); err != nil {
			t.Errorf("%v: %s", err, a.body)
		}
	}
}

func resolve(t *testing.T, doc, node map[string]any) map[string]any {
	t.Helper()
	ref, ok := node["$ref"].(string)
	if !ok {
		return node
	}
	for name := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		if doc, ok = doc[name].(map[string]any); !ok {
			t.Fatalf("%s leads nowhere", ref)
		}
	}
	return doc
}

// conforms checks a value against the part of JSON Schema that the document uses.
func conforms(t *testing.T, doc, schema map[string]any, value any, at string) error {
	t.Helper()
	schema = resolve(t, doc, schema)
	if choices, ok := schema["oneOf"].([]any); ok {
		fits := 0
		for _, choice := range choices {
			if conforms(t, doc, choice.(map[string]any), value, at) == nil {
				fits++
			}
		}
		if fits != 1 {
			return fmt.Errorf("%s fits %d of the choices", at, fits)
		}
		return nil
	}
	types, ok := schema["type"].([]any)
	if !ok {
		types = []any{schema["type"]}
	}
	if !slices.Contains(types, any(typeOf(value))) {
		return fmt.Errorf("%s is %s, not %v", at, typeOf(value), types)
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, value) {
		return fmt.Errorf("%s is %v, not one of %v", at, value, enum)
	}
	switch value := value.(type) {
	case string:
		if pattern, ok := schema["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(value) {
			return fmt.Errorf("%s: %q does not match %s", at, value, pattern)
		}
		if _, err := time.Parse(time.RFC3339, value); schema["format"] == "date-time" && err != nil {
			return fmt.Errorf("%s: %v", at, err)
		}
	case []any:
		for i, element := range value {
			if err := conforms(t, doc, schema["items"].(map[string]any), element, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case map[string]any:
		properties, _ := schema["properties"].(map[string]any)
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if !has(value, name.(string)) {
				return fmt.Errorf("%s has no %s", at, name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(value)) {
			property, ok := properties[name].(map[string]any)
			if !ok {
				if property, ok = schema["additionalProperties"].(map[string]any); !ok {
					return fmt.Errorf("%s has %s, which is not in the schema", at, name)
				}
			}
			if err := conforms(t, doc, property, value[name], at+"."+name); err != nil {
				return err
			}
		}
	}
	return nil
}

func typeOf(value any) string {
	switch value := value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		if value == float64(int64(value)) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}
