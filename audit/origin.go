package audit

import "context"

// Who acts, unless it is a client with a certificate, whose subject stands there
// instead.
const (
	Server   = "server"       // by itself
	Socket   = "local socket" // whoever may use the unix socket
	Loopback = "loopback"     // whoever is on the machine
	Unknown  = "unknown"      // nobody said; a fault of the program
)

// Origin is who asked for an action, and from where.
type Origin struct {
	Actor     string // what was proved: one of the constants, or a subject
	ClaimedBy string // what the client says of itself; proves nothing
	Address   string // "" if there is none
	RequestID string
	Force     bool // it was told of recent use, or did not want to be
}

type originKey struct{}

// WithOrigin returns a context for what o asks for. What changes keys takes its
// origin from there, so that none can be left out on the way.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// OriginOf returns the origin of a context.
func OriginOf(ctx context.Context) Origin {
	o, ok := ctx.Value(originKey{}).(Origin)
	if !ok || o.Actor == "" {
		o.Actor = Unknown
	}
	return o
}
