// Command bench measures what API keys cost a whole server: Caddy with them
// against Caddy without, in one process and one run, in turns, by the processor
// time that the server takes for a request. What waits for the disk is measured
// by the calls that are answered in a second.
//
//	go run ./bench
//
// Clients, the upstream and the authorization service of forward_auth are
// processes of their own, so that their time is not counted. Every pair of
// servers gets the same requests, byte for byte. Absolute figures say something
// about a machine and its other work; ratios carry over.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// options of a run.
type options struct {
	rounds  int
	slice   time.Duration
	conns   int
	keys    int
	only    *regexp.Regexp
	profile string
}

func main() {
	if role := os.Getenv(roleVar); role != "" {
		exitOn(play(role))
		return
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 200, "how often each pair is measured")
	flag.DurationVar(&o.slice, "slice", 25*time.Millisecond, "how long a server is measured at a time")
	flag.IntVar(&o.conns, "conns", 4, "connections to a server")
	flag.IntVar(&o.keys, "keys", 100_000, "how many keys there are")
	only := flag.String("only", "", "measure the variants whose name this regular expression matches")
	flag.StringVar(&o.profile, "cpuprofile", "", "write a profile of the server to this file")
	flag.Parse()
	var err error
	if o.only, err = regexp.Compile(*only); err == nil {
		err = o.check()
	}
	exitOn(err)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exitOn(run(ctx, o, os.Stdout))
}

func (o options) check() error {
	if o.rounds < 1 || o.rounds > 10_000 || o.slice < time.Millisecond || o.slice > time.Minute || o.conns < 1 || o.conns > 1000 || o.keys < 1 || o.keys > 10_000_000 {
		return errors.New("rounds: 1 to 10000, slice: 1ms to 1m, conns: 1 to 1000, keys: 1 to 10000000")
	}
	return nil
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures and prints the table.
func run(ctx context.Context, o options, out *os.File) (err error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	services, err := startPeer(ctx, "services")
	if err != nil {
		return err
	}
	defer services.stop()
	var addrs serviceAddrs
	if err := services.out.Decode(&addrs); err != nil {
		return fmt.Errorf("starting the upstream: %w", err)
	}
	client, err := startPeer(ctx, "client")
	if err != nil {
		return err
	}
	defer client.stop()

	sites, err := startServer(filepath.Join(dir, "server"), addrs)
	if err != nil {
		return fmt.Errorf("starting Caddy: %w", err)
	}
	defer func() { err = errors.Join(err, caddy.Stop()) }()
	began := time.Now()
	if err := importKeys(ctx, o.keys); err != nil {
		return fmt.Errorf("importing keys: %w", err)
	}
	fmt.Fprintf(out, "Caddy %s, %s, %s/%s, %d cores; %d keys, imported in %.1f s; %d connections, %d rounds of %v\n\n",
		caddyVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(),
		o.keys, time.Since(began).Seconds(), o.conns, o.rounds, o.slice)

	signer, err := createSigner(ctx)
	if err != nil {
		return fmt.Errorf("making a key that signs: %w", err)
	}
	m := meter{client: client, signer: signer, sites: sites, options: o}
	var pairs []*pair
	for _, p := range variants(o.keys) {
		if o.only.MatchString(p.name) {
			pairs = append(pairs, p)
		}
	}
	var races []*race
	for _, r := range allRaces() {
		if o.only.MatchString(r.name) {
			races = append(races, r)
		}
	}
	if err := m.round(ctx, pairs, 0, false); err != nil { // connections, caches
		return err
	}
	if o.profile != "" {
		file, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	for i := range o.rounds {
		if err := m.round(ctx, pairs, i, true); err != nil {
			return err
		}
	}
	if err := report(out, pairs); err != nil {
		return err
	}
	return m.race(ctx, races, out)
}

// peer is a process of ours that speaks JSON on its standard streams, and ends
// when its input does.
type peer struct {
	cmd *exec.Cmd
	pipes
}

// startPeer starts this program again, in another role.
func startPeer(ctx context.Context, role string) (*peer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), roleVar+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &peer{cmd, newPipes(in, out)}, nil
}

func (p *peer) stop() {
	p.close()
	_ = p.cmd.Wait()
}
