package caddyapikey_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/logging"

	"github.com/caddy-apikey/caddy-apikey/caddyapikey"
)

// accessLine encodes one line of an access log as Caddy's server does: the
// request is given to a logger beforehand, the rest with the entry.
func encodeLine(tb testing.TB, enc zapcore.Encoder, r *http.Request, response http.Header) int {
	line := enc.Clone()
	zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r}).AddTo(line)
	out, err := line.EncodeEntry(zapcore.Entry{
		Level: zapcore.InfoLevel, Time: time.Unix(1_790_000_000, 0), LoggerName: "http.log.access.log0", Message: "handled request",
	}, []zapcore.Field{
		zap.Int("bytes_read", 0),
		zap.String("user_id", "key_0123456789abcdefghij"),
		zap.Duration("duration", 1234*time.Microsecond),
		zap.Int("size", 2048),
		zap.Int("status", 200),
		zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: response}),
	})
	if err != nil {
		tb.Fatal(err)
	}
	defer out.Free()
	return out.Len()
}

// browserCall is a request as a browser or an SDK sends it, over HTTP/2 with TLS.
func browserCall(tb testing.TB, headers ...string) (*http.Request, http.Header) {
	tb.Helper()
	r, err := http.NewRequest("GET", "https://api.example.com/v1/contacts/4711/deals?page=2&limit=50&sort=created_at", nil)
	if err != nil {
		tb.Fatal(err)
	}
	ctx := context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: "203.0.113.7"})
	r = r.WithContext(ctx)
	r.RequestURI, r.Proto, r.RemoteAddr = r.URL.RequestURI(), "HTTP/2.0", "203.0.113.7:52144"
	r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, NegotiatedProtocol: "h2", ServerName: "api.example.com"}
	for _, line := range append([]string{
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
		"Accept: application/json, text/plain;q=0.9, */*;q=0.8",
		"Accept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7",
		"Accept-Encoding: gzip, deflate, br, zstd",
		"Authorization: Bearer secret",
		"Referer: https://app.example.com/contacts/4711",
		"Origin: https://app.example.com",
		`Sec-Ch-Ua: "Chromium";v="141", "Not?A_Brand";v="8"`,
		"Sec-Ch-Ua-Mobile: ?0",
		`Sec-Ch-Ua-Platform: "Linux"`,
		"Sec-Fetch-Site: same-site",
		"Sec-Fetch-Mode: cors",
		"Priority: u=1, i",
	}, headers...) {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	return r, http.Header{
		"Server":        {"Caddy"},
		"Alt-Svc":       {`h3=":443"; ma=2592000`},
		"Content-Type":  {"application/json"},
		"Cache-Control": {"private, max-age=60"},
		"Etag":          {`"5f2a91"`},
		"Date":          {"Mon, 23 Nov 2026 10:00:00 GMT"},
		"Vary":          {"X-Api-Key"},
	}
}

func provisioned(tb testing.TB, e *caddyapikey.RedactEncoder) *caddyapikey.RedactEncoder {
	tb.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	tb.Cleanup(cancel)
	if err := e.Provision(ctx); err != nil {
		tb.Fatal(err)
	}
	return e
}

// BenchmarkAccessLine compares lines with and without redaction. Each pair runs
// in turn, a slice each, so that both see the same noise; the fastest slices
// have the least of it.
func BenchmarkAccessLine(b *testing.B) {
	for _, kind := range []string{"json", "console"} {
		wrap, err := json.Marshal(map[string]string{"format": kind})
		if err != nil {
			b.Fatal(err)
		}
		redacting := provisioned(b, &caddyapikey.RedactEncoder{WrappedRaw: wrap, Headers: []string{"X-API-Key"}, Query: []string{"api_key"}})
		plain := redacting.Encoder
		for name, headers := range map[string][]string{
			"nothing to redact": nil,
			"key in a header":   {"X-API-Key: ck_0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX2yZ3aB4cD5eF6"},
		} {
			r, response := browserCall(b, headers...)
			b.Run(kind+"/"+name, func(b *testing.B) {
				const slice = 50
				fastest := [2]time.Duration{time.Hour, time.Hour}
				var ratios []float64
				for range b.N/slice + 1 {
					var took [2]time.Duration
					for i, enc := range []zapcore.Encoder{plain, redacting} {
						began := time.Now()
						for range slice {
							encodeLine(b, enc, r, response)
						}
						took[i] = time.Since(began)
						fastest[i] = min(fastest[i], took[i])
					}
					ratios = append(ratios, float64(took[1])/float64(took[0]))
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(fastest[0].Nanoseconds())/slice, "plain-ns")
				b.ReportMetric(float64(fastest[1].Nanoseconds())/slice, "redacted-ns")
				b.ReportMetric(float64(fastest[1])/float64(fastest[0]), "ratio-of-fastest")
				b.ReportMetric(median(ratios), "median-ratio")
			})
		}
	}
}

func BenchmarkAccessLineAllocations(b *testing.B) {
	redacting := provisioned(b, &caddyapikey.RedactEncoder{Headers: []string{"X-API-Key"}, Query: []string{"api_key"}})
	r, response := browserCall(b)
	for name, enc := range map[string]zapcore.Encoder{"plain": redacting.Encoder.(*logging.JSONEncoder), "redacted": redacting} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				encodeLine(b, enc, r, response)
			}
		})
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
