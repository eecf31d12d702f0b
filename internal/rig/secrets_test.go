package rig

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

const (
	token = "ck_0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX2yZ3aB4cD5eF6"
	odd   = `"Odd\&ke%y+/`
)

func TestSecretsAreFoundInEveryForm(t *testing.T) {
	for _, value := range []string{token, odd} {
		var s Secrets
		s.Add("the key", value)
		quoted, err := json.Marshal("x" + value + "y")
		if err != nil {
			t.Fatal(err)
		}
		twice, err := json.Marshal(string(quoted))
		if err != nil {
			t.Fatal(err)
		}
		every := ""
		for _, b := range []byte(value) {
			every += "%" + hex.EncodeToString([]byte{b})
		}
		texts := map[string]string{
			"raw":                   "GET /" + value + " HTTP/1.1",
			"JSON":                  string(quoted),
			"JSON in JSON":          string(twice),
			"query":                 "?api_key=" + url.QueryEscape(value),
			"path":                  "/" + url.PathEscape(value),
			"percent-encoded":       every,
			"encoded twice":         url.QueryEscape(every),
			"hexadecimal":           hex.EncodeToString([]byte(value)),
			"upper hexadecimal":     strings.ToUpper(hex.EncodeToString([]byte(value))),
			"JSON, percent-encoded": strings.ReplaceAll(string(quoted), "_", "%5f"),
		}
		for _, before := range []string{"", "a", "ab", "abc"} {
			for _, after := range []string{"", "a", "ab"} {
				place := " between " + before + " and " + after
				texts["base64"+place] = base64.StdEncoding.EncodeToString([]byte(before + value + after))
				texts["base64url"+place] = base64.RawURLEncoding.EncodeToString([]byte(before + value + after))
			}
		}
		for form, text := range texts {
			found := s.Find([]byte(text))
			if len(found) == 0 {
				t.Errorf("%q is not found in the form %s", value, form)
			}
			for _, description := range found {
				if strings.Contains(description, value) || !strings.HasPrefix(description, "the key: ") {
					t.Errorf("description %q", description)
				}
			}
		}
	}
}

func TestSecretsAreFoundInPart(t *testing.T) {
	var s Secrets
	s.Add("the key", token)
	for i := len("ck_0aB1"); i+15 < len(token)-8; i++ {
		if len(s.Find([]byte(`"`+token[i:i+15]+`…"`))) == 0 {
			t.Errorf("15 bytes from %d on are not found", i)
		}
	}
	if found := s.Find([]byte("the hint " + token[:7])); len(found) != 0 {
		t.Errorf("the public hint is reported: %v", found)
	}
}

func TestSecretsFindNothingElse(t *testing.T) {
	var s Secrets
	s.Add("the key", token)
	s.Add("an odd key", odd)
	other := strings.ToLower(token)
	for _, text := range []string{"", "%", "%4", `\`, `\u12`, other, url.QueryEscape(other), hex.EncodeToString([]byte(other))} {
		if found := s.Find([]byte(text)); len(found) != 0 {
			t.Errorf("%q: %v", text, found)
		}
	}
}

func TestSecretsFindDigests(t *testing.T) {
	var s Secrets
	s.Add("the key", token)
	sum := sha256.Sum256([]byte(token))
	for form, text := range map[string]string{
		"raw":         "a" + string(sum[:]) + "b",
		"hexadecimal": strings.ToUpper(hex.EncodeToString(sum[:])),
		"base64":      base64.StdEncoding.EncodeToString(append([]byte("x"), sum[:]...)),
		"base64url":   base64.RawURLEncoding.EncodeToString(sum[:]),
	} {
		if len(s.FindDigests([]byte(text))) == 0 {
			t.Errorf("not found in the form %s", form)
		}
		if len(s.Find([]byte(text))) != 0 {
			t.Errorf("a digest in the form %s is taken for the secret", form)
		}
	}
	if found := s.FindDigests([]byte(token)); len(found) != 0 {
		t.Errorf("in the secret itself: %v", found)
	}
}
