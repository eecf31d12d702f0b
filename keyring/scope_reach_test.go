package keyring

import "testing"

func TestMayCover(t *testing.T) {
	for _, c := range []struct {
		granted, template string
		want              bool
	}{
		{"brands/17:use", "brands/{id}:use", true},
		{"brands/17:use", "brands/{id}:read", false},
		{"brands/17:use", "brands/{id}", false},
		{"brands/*:use", "brands/{id}:use", true},
		{"brands:*", "brands/{id}:use", false},
		{"brands/*", "brands/{id}:use", true},
		{"*", "{a}:{b}", true},
		{"team-7:read", "team-{n}:read", true},
		{"team-:read", "team-{n}:read", false}, // a value is never empty
		{"team7:read", "team-{n}:read", false},
		{"a-x-b:read", "a-{n}-b:read", true},
		{"a-b:read", "a-{n}-b:read", false},
		{"x1y2z:r", "x{a}y{b}z:r", true},
		{"xyz:r", "x{a}y{b}z:r", false},
		{"contacts:read", "contacts:read", true},
		{"contacts:read", "", false},
		{"brands/17:use", "brands/{http.request.header.A:B}:use", true},
	} {
		g, err := NewGrants([]string{c.granted})
		if err != nil {
			t.Fatal(err)
		}
		if got := g.MayCover(c.template); got != c.want {
			t.Errorf("%s may cover %q: %v", c.granted, c.template, got)
		}
	}
	if (*Grants)(nil).MayCover("a") {
		t.Error("no grants cover something")
	}
}
