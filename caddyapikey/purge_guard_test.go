package caddyapikey

import (
	"strings"
	"testing"
	"time"
)

func TestPurgeGuard(t *testing.T) {
	const hour, day, year = time.Hour, 24 * time.Hour, 365 * 24 * time.Hour
	opened := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	type look struct {
		passed, ahead time.Duration
		purge         bool
		news          string // what it contains
	}
	const jump, idle = "went ahead", "before the start"
	for name, c := range map[string]struct {
		written time.Time
		looks   []look
	}{
		"a steady clock": {opened.Add(-hour), []look{{hour, 0, true, ""}, {2 * hour, time.Second, true, ""}, {1000 * day, 0, true, ""}}},
		"a new record": {time.Time{}, []look{
			{hour, 0, false, ""}, {day - 1, 0, false, ""}, {day, 0, true, ""}, {2 * day, 0, true, ""}}},
		"a record of long ago":   {opened.Add(-day - 1), []look{{hour, 0, false, idle}, {day, 0, true, ""}}},
		"a record of a day ago":  {opened.Add(-day), []look{{hour, 0, true, ""}}},
		"a record of the future": {opened.Add(year), []look{{hour, 0, true, ""}}},
		"a jump": {opened, []look{
			{hour, 0, true, ""}, {2 * hour, 4 * year, false, jump}, {3 * hour, 4 * year, false, ""},
			{2*hour + day - 1, 4 * year, false, ""}, {2*hour + day, 4 * year, true, ""}, {9 * day, 4 * year, true, ""}}},
		"a jump before the first look": {opened, []look{{hour, day + 1, false, jump}, {hour + day, day + 1, true, ""}}},
		"a jump that is set right":     {opened, []look{{hour, year, false, jump}, {2 * hour, 0, false, ""}, {hour + day, 0, true, ""}}},
		"a second jump": {opened, []look{
			{hour, year, false, jump}, {day, 2 * year, false, jump}, {hour + day, 2 * year, false, ""}, {2 * day, 2 * year, true, ""}}},
		"the same jump again": {opened, []look{
			{hour, year, false, jump}, {2 * hour, 0, false, ""}, {3 * hour, year, false, jump}, {2 * day, year, true, ""}}},
		"small steps ahead": {opened, []look{
			{hour, 12 * hour, true, ""}, {2 * hour, day, true, ""}, {3 * hour, day + 1, false, jump}, {3*hour + day, day + 1, true, ""}}},
		"set back, and ahead":        {opened, []look{{hour, -year, true, ""}, {2 * hour, 0, false, jump}, {2*hour + day, 0, true, ""}}},
		"the beginning, and the end": {opened, []look{{hour, -290 * year, true, ""}, {2 * hour, 290 * year, false, jump}}},
		"the end of time":            {opened, []look{{hour, 290 * year, false, jump}, {2 * hour, -290 * year, false, ""}, {hour + day, -290 * year, true, ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newPurgeGuard(opened, c.written)
			for i, l := range c.looks {
				purge, news := g.look(opened.Add(l.passed).Add(l.ahead), l.passed)
				if purge != l.purge || (news == "") != (l.news == "") || !strings.Contains(news, l.news) {
					t.Errorf("look %d: %v %q, want %v %q", i, purge, news, l.purge, l.news)
				}
			}
		})
	}
}
