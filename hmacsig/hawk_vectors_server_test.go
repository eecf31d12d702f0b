package hmacsig

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// refusal does a server's steps up to the nonce and returns the answer's status
// and challenge, 200 if it may go on.
func hawkRefusal(authorization string, key Key, r *Request, body *string, now time.Time) (int, string) {
	claim, err := ParseHawk(authorization)
	if errors.Is(err, ErrNotHawk) {
		return 401, HawkChallenge(err)
	}
	if err != nil {
		return 400, ""
	}
	proof, err := claim.Verify(key, r)
	if errors.Is(err, ErrSyntax) {
		return 400, ""
	}
	if err != nil {
		return 401, HawkChallenge(err)
	}
	if err := proof.Fresh(now, HawkSkew); err != nil {
		return 401, proof.StaleChallenge(now)
	}
	payload := proof.Payload()
	if body != nil {
		_, _ = io.WriteString(payload, *body)
	}
	if err := payload.Verify(); err != nil {
		return 401, HawkChallenge(err)
	}
	return 200, ""
}

func TestHawkVectorHeaders(t *testing.T) {
	vectors := readHawkVectors(t)
	key := Key{secret: []byte(vectors.HeaderTestCredentials.Key)}
	// Where we decide otherwise than the reference, and why.
	ours := map[string]struct {
		status int
		why    string
	}{
		"no space after scheme": {401, `"Hawkid" is another scheme`},
		"trailing comma":        {400, "one signature should have one spelling"},
		"ts not a number":       {400, "it would be fresh for ever"},
		"ts NaN":                {400, "it would be fresh for ever"},
		"ts hex":                {400, "two parsers read it differently"},
		"ts exponent":           {400, "two parsers read it differently"},
		"ts plus":               {400, "two parsers read it differently"},
		"ts leading zero":       {400, "two parsers read it differently"},
		"ts Infinity":           {400, "no time"},
		"ts 20 digits":          {400, "no time"},
		"ts decimal":            {200, "the reference's documentation proposes Date.now() / 1000 as a time, so clients send fractions"},

		"empty payload checked but no hash": {200, "there is nothing to protect"},
		"payload not checked by server":     {401, "here a server cannot leave the body unchecked: this one has none, and the signed one had"},
	}
	seen := 0
	for _, v := range vectors.Headers {
		t.Run(v.Name, func(t *testing.T) {
			r := &Request{
				Method: v.Req.Method, Scheme: "http", Authority: v.Req.Host + ":" + strconv.Itoa(v.Req.Port), Target: v.Req.URL,
				Header: http.Header{},
			}
			if v.ContentType != nil {
				r.Header.Set("Content-Type", *v.ContentType)
			}
			status, challenge := hawkRefusal(v.Header, key, r, v.Payload, time.UnixMilli(v.NowMS))
			want, wantChallenge := v.Status, optional(v.Authenticate)
			if v.Hawk == "ok" {
				want = 200
			}
			if own, ok := ours[v.Name]; ok {
				seen++
				want, wantChallenge = own.status, challenge
			} else if strings.Contains(v.ExpectOurs, "hawk") {
				t.Fatal("no decision here")
			}
			if status != want || challenge != wantChallenge {
				t.Errorf("%d %s, want %d %s", status, challenge, want, wantChallenge)
			}
		})
	}
	if seen != len(ours) {
		t.Errorf("%d of %d decisions met", seen, len(ours))
	}
}

func TestHawkVectorBewits(t *testing.T) {
	vectors := readHawkVectors(t)
	key := Key{secret: []byte(vectors.HeaderTestCredentials.Key)}
	want := map[string]error{
		"lower-case get":                     ErrCoverage,
		"no bewit":                           ErrNotHawk,
		"empty bewit":                        ErrSyntax,
		"illegal char":                       ErrSyntax,
		"padding =":                          ErrSyntax,
		"three parts":                        ErrSyntax,
		"five parts":                         ErrSyntax,
		"missing exp":                        ErrSyntax,
		"missing mac":                        ErrSyntax,
		"other resource":                     ErrSignature,
		"expired exactly":                    ErrStale,
		"expired and bad mac":                ErrSignature,
		"exp not a number (valid mac)":       ErrSyntax, // the reference: good for ever
		"exp with suffix":                    ErrSyntax, // the reference: good
		"two bewits":                         ErrSyntax, // the reference: the last counts
		"URL 4096+":                          ErrSyntax,
		"bewit in path only":                 ErrNotHawk,
		"only bewit, signed with trailing ?": ErrSignature,
		"notbewit param":                     ErrNotHawk,
	}
	seen := 0
	for _, v := range vectors.Bewits {
		t.Run(v.Name, func(t *testing.T) {
			target := v.Req.URL
			if rest, ok := strings.CutSuffix(target, "..."); ok { // the vector leaves the rest out
				target = rest + strings.Repeat("x", 4096) + "&bewit=YQ"
			}
			r := &Request{Method: v.Req.Method, Scheme: "http", Authority: v.Req.Host + ":" + strconv.Itoa(v.Req.Port), Target: target}
			err := func() error {
				claim, err := ParseHawkBewit(r)
				if err != nil {
					return err
				}
				proof, err := claim.Verify(key, r)
				if err != nil {
					return err
				}
				if proof.ID() != v.Attributes.ID && v.Attributes.ID != "" || proof.Ext() != v.Attributes.Ext && v.Attributes.ID != "" {
					t.Errorf("the proof says %+v", proof)
				}
				if strings.Contains(proof.Target(), "bewit") {
					t.Errorf("the target still has its bewit: %s", proof.Target())
				}
				return proof.Fresh(time.UnixMilli(v.NowMS), 10*time.Minute)
			}()
			if want[v.Name] != nil {
				seen++
			}
			if !errors.Is(err, want[v.Name]) {
				t.Errorf("%v, want %v", err, want[v.Name])
			}
			if want[v.Name] == nil && v.Hawk != "ok" {
				t.Errorf("accepted, where the reference says %s", v.Hawk)
			}
		})
	}
	if seen != len(want) {
		t.Errorf("%d of %d refusals met", seen, len(want))
	}
}

// Bewits of the reference's client fit, and ours are the same.
func TestHawkVectorCaseBewits(t *testing.T) {
	for _, v := range readHawkVectors(t).Cases {
		t.Run(v.Name, func(t *testing.T) {
			in, out := &v.In, &v.Out
			r := in.request(t)
			r.Method, r.Header, r.Target = "GET", nil, out.BewitURL
			claim, err := ParseHawkBewit(r)
			switch v.Name {
			case "ext-backslash", "ext-newline", "ext-unicode":
				// the first can be read by nobody, and the others have characters
				// that the ext of a field cannot have
				if !errors.Is(err, ErrSyntax) {
					t.Errorf("%v, want a refusal", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			proof, err := claim.Verify(in.key(), r)
			if err != nil {
				t.Fatal(err)
			}
			if proof.Target() != in.Resource || proof.Ext() != optional(in.Ext) {
				t.Errorf("target %s, ext %s", proof.Target(), proof.Ext())
			}
			if out.BewitVerify != "ok" && !clientIsRight[v.Name] {
				t.Errorf("accepted, where the reference says %s", out.BewitVerify)
			}

			if u, err := url.Parse(in.URL); err == nil && v.Name != "ext-quotes" && u.Host == r.Authority {
				u.Fragment = ""
				signer := &HawkSigner{ID: in.ID, Key: in.key(), Ext: optional(in.Ext)}
				signed, err := signer.Bewit(u, time.Unix(out.BewitExp, 0))
				if err != nil {
					t.Fatal(err)
				}
				if got := signed.RequestURI(); got != out.BewitURL {
					t.Errorf("%s, want %s", got, out.BewitURL)
				}
			}
		})
	}
}
