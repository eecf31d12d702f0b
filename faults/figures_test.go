//go:build linux

package faults

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// verdicts of a figure
const (
	held   = "yes"
	missed = "**no**"
	shown  = "" // a figure without a goal
)

// figure is one row of the table.
type figure struct{ id, what, goal, measured, verdict, day string }

// ledger collects the figures of a run.
type ledger struct {
	mu   sync.Mutex
	rows []figure
}

var figures ledger

// note records a figure; ok says whether it meets the goal. It does not fail
// the test: what depends on the machine is only shown.
func note(t testing.TB, id, what, goal string, ok bool, measured string, args ...any) {
	t.Helper()
	verdict := shown
	if goal != "" {
		verdict = missed
		if ok {
			verdict = held
		}
	}
	f := figure{id, what, goal, fmt.Sprintf(measured, args...), verdict, time.Now().Format(time.DateOnly)}
	t.Logf("%s %s: %s (goal: %s) %s", f.id, f.what, f.measured, f.goal, f.verdict)
	figures.mu.Lock()
	defer figures.mu.Unlock()
	figures.rows = append(figures.rows, f)
}

// must is note for what is wrong on any machine where the goal is missed.
func must(t testing.TB, id, what, goal string, ok bool, measured string, args ...any) {
	t.Helper()
	note(t, id, what, goal, ok, measured, args...)
	if !ok {
		t.Errorf("%s %s: %s, want %s", id, what, fmt.Sprintf(measured, args...), goal)
	}
}

// patience bounds what a test waits for. It is no goal: a machine may be slow, or
// do other work.
const patience = time.Minute

// within is must for how long something took. Only the whole run, which has the
// machine to itself, holds it to the goal; beside others only what hangs fails.
func within(t testing.TB, id, what, goal string, limit, took time.Duration, measured string, args ...any) {
	t.Helper()
	note(t, id, what, goal, took < limit, measured, args...)
	if took > atMost(limit) {
		t.Errorf("%s %s: took %v, want %s", id, what, took, goal)
	}
}

// atMost is how long something may take for which there is a limit.
func atMost(limit time.Duration) time.Duration {
	if full {
		return limit
	}
	return patience
}

// skip records that nothing was measured, and why.
func skip(t testing.TB, id, what, reason string, args ...any) {
	t.Helper()
	note(t, id, what, "", false, "not measured: "+reason, args...)
	t.Skipf(reason, args...)
}

func (l *ledger) report(page string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rows) == 0 {
		return nil
	}
	if page == "" {
		fmt.Print(table(l.rows))
		return nil
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	updated, err := l.update(text)
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	fmt.Print(table(l.rows))
	return os.WriteFile(page, updated, 0o644)
}

const (
	beginFigures = "<!-- figures: written by make faults -->\n"
	endFigures   = "<!-- end of figures -->\n"
)

// update puts the figures of this run in the place of those that the page has
// of the same tests. What other tests measured stays, unless it was on another
// machine.
func (l *ledger) update(page []byte) ([]byte, error) {
	before, rest, found := bytes.Cut(page, []byte(beginFigures))
	old, after, ended := bytes.Cut(rest, []byte(endFigures))
	if !found || !ended {
		return nil, fmt.Errorf("has no place for the figures")
	}
	ran := make(map[string]bool)
	for _, f := range l.rows {
		ran[f.id] = true
	}
	rows := slices.Clone(l.rows)
	if machine := machine(); bytes.Contains(old, []byte(machine)) {
		for lines := bufio.NewScanner(bytes.NewReader(old)); lines.Scan(); {
			cells := strings.Split(strings.Trim(lines.Text(), "| "), " | ")
			if len(cells) == 6 && regexp.MustCompile(`^R\d\d$`).MatchString(cells[0]) && !ran[cells[0]] {
				rows = append(rows, figure{cells[0], cells[1], cells[2], cells[3], cells[4], cells[5]})
			}
		}
	}
	slices.SortStableFunc(rows, func(a, b figure) int { return strings.Compare(a.id, b.id) })
	return slices.Concat(before, []byte(beginFigures+"\n"+machine()+"\n\n"+table(rows)+"\n"+endFigures), after), nil
}

func table(rows []figure) string {
	var b strings.Builder
	b.WriteString("| test | what | goal | measured | met | day |\n|---|---|---|---|---|---|\n")
	clean := strings.NewReplacer("|", "/", "\n", " ")
	for _, f := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", f.id, clean.Replace(f.what), dash(clean.Replace(f.goal)), clean.Replace(f.measured), dash(f.verdict), f.day)
	}
	return b.String()
}

func dash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}

// machine says what the figures were measured on.
func machine() string {
	var info syscall.Sysinfo_t
	_ = syscall.Sysinfo(&info)
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	kernel := regexp.MustCompile(`^\d+\.\d+`).Find(release) // what follows names a build
	return fmt.Sprintf("Measured on %d cores, %d GB of memory, Linux %s, %s.",
		runtime.NumCPU(), (info.Totalram*uint64(info.Unit)+1<<29)>>30, kernel, runtime.Version())
}

// quantile returns the q-quantile of durations.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1))]
}

func counted(m map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%d %s", m[k], k))
	}
	return strings.Join(parts, ", ")
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d)/1e6) }

func TestUpdateKeepsOtherFigures(t *testing.T) {
	page := []byte("# Title\n\n" + beginFigures + "\n" + machine() + "\n\n" +
		table([]figure{{"R01", "a", "1", "2", held, "d"}, {"R02", "b", "", "9", shown, "d"}}) + "\n" + endFigures + "\nrest\n")
	l := ledger{rows: []figure{{"R01", "a", "1", "3", missed, "e"}}}
	got, err := l.update(page)
	want := "# Title\n\n" + beginFigures + "\n" + machine() + "\n\n" +
		table([]figure{{"R01", "a", "1", "3", missed, "e"}, {"R02", "b", "", "9", shown, "d"}}) + "\n" + endFigures + "\nrest\n"
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
	if got, err := l.update(bytes.ReplaceAll(page, []byte("cores"), []byte("other cores"))); err != nil || bytes.Contains(got, []byte("R02")) {
		t.Errorf("figures of another machine: %v\n%s", err, got)
	}
}
