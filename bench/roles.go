package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// roleVar is the environment variable that tells a process what it is.
const roleVar = "CADDY_APIKEY_BENCH_ROLE"

// pipes carry JSON values in both directions.
type pipes struct {
	in     *json.Encoder
	out    *json.Decoder
	closer io.Closer
}

func newPipes(in io.WriteCloser, out io.Reader) pipes {
	return pipes{json.NewEncoder(in), json.NewDecoder(out), in}
}

func (p pipes) close() { _ = p.closer.Close() }

// play is a peer's whole life.
func play(role string) error {
	p := newPipes(os.Stdout, os.Stdin)
	switch role {
	case "client":
		return playClient(p)
	case "services":
		return playServices(p)
	}
	return fmt.Errorf("unknown role %q", role)
}
