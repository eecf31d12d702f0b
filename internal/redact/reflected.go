package redact

import (
	"bytes"
	"encoding/json"
)

// reflected redacts a value of any type, which an encoder would turn into JSON
// by reflection: it returns the value itself if there is nothing to redact in it,
// and otherwise what its JSON says.
func (f *Fields) reflected(key string, value any) any {
	if f.Rules.Header(key) {
		return f.Rules.redactTree(key, plain(value), true, f.EachString)
	}
	if value == nil {
		return nil
	}
	text, err := json.Marshal(value)
	if err != nil || !f.EachString && !f.Rules.mentioned(text) {
		return value // what cannot be encoded is not logged either
	}
	return f.Rules.redactTree(key, plain(value), false, f.EachString)
}

// mentioned reports whether the name of a header with keys is anywhere in JSON.
// Ready-made JSON may have escapes that nobody needs, such as \u005f for an
// underscore: those count, as without them tokens can be seen.
func (r *Rules) mentioned(text []byte) bool {
	if bytes.Contains(text, []byte(`\u00`)) {
		return true
	}
	folded := []byte(fold(string(text)))
	for _, name := range r.headers.names {
		if bytes.Contains(folded, []byte(name)) {
			return true
		}
	}
	return false
}

// plain returns what the JSON of a value says.
func plain(value any) (tree any) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // as it is written
	if decoder.Decode(&tree) != nil {
		return nil
	}
	return tree
}

// redactTree redacts a value that stands under a key, and all of it where it
// belongs to a header with keys.
func (r *Rules) redactTree(key string, tree any, all, eachString bool) any {
	switch node := tree.(type) {
	case map[string]any:
		for name, value := range node {
			inside, under := all, key
			if !all {
				inside, under = r.Header(name), name
			}
			node[name] = r.redactTree(under, value, inside, eachString)
		}
	case []any:
		for i, value := range node {
			node[i] = r.redactTree(key, value, all, eachString)
		}
	case string:
		switch {
		case all:
			return r.Value(key, node)
		case eachString:
			return r.Text(node)
		}
	case json.Number:
		if all {
			return Mark
		}
	}
	return tree
}
