package attack

import (
	"net/http"
	"strings"
	"time"

	"github.com/caddy-apikey/caddy-apikey/hmacsig"
	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// tells are attacks of classes I, J and M on what a stranger, or a client that
// makes mistakes, sends in unusual places and amounts.
var tells = []attack{
	{"I26_secret_in_place_of_the_key_id", func(s *scene) {
		k := s.signer(signedSite)
		key, err := hmacsig.SecretKey([]byte(k.secret))
		if err != nil {
			s.t.Fatal(err)
		}
		for _, secret := range []string{k.secret, s.reader.token, "hunter2-hunter2-hunter2"} {
			s.secrets = append(s.secrets, secret)
			message, err := hmacsig.NewSecretSigner(secret, []byte(k.secret))
			if err != nil {
				s.t.Fatal(err)
			}
			for _, by := range []hmacsig.Signer{&hmacsig.HawkSigner{ID: secret, Key: key}, message} {
				answer := s.refused("a secret as the id", s.copyOf(k.signed(by, "GET", "/x", "", time.Now()), ""), http.StatusUnauthorized)
				if strings.Contains(string(answer.Body), secret) {
					s.t.Error("the answer repeats it")
				}
			}
		}
		if !strings.Contains(s.newLogs(), "what should have been signed") {
			s.t.Error("nothing is logged for who looks for his mistake")
		}
	}},
	{"J25_as_many_copies_as_fit", func(s *scene) {
		s.Load("servers {\nmax_header_size 1MB\n}", "@open path /open\napi_key {\nfrom query api_key\nfrom cookie key\npublic @open\nrequire *\n}\nreverse_proxy {$UPSTREAM}")
		s.accepted("warm", s.get("/open"))
		before := allocated()
		s.accepted("a parameter 9,000 times", s.get("/open?"+strings.Repeat("api_key="+strings.Repeat("x", 80)+"&", 9_000)+"a=1"))
		s.accepted("a cookie 150,000 times", s.get("/open", "Cookie: "+strings.Repeat("key=;", 150_000)+"a=1"))
		// Removed one by one they take many seconds, and tens of gigabytes of copies.
		if bytes := allocated() - before; bytes > 512<<20 {
			s.t.Errorf("%d bytes were allocated", bytes)
		}
		if got := s.Upstream.Last(); strings.Contains(got, "key=") || !strings.Contains(got, "a=1") {
			s.t.Errorf("the upstream got %.300s", got)
		}
	}},
	{"M24_a_second_signature_to_ask_for_keys", func(s *scene) {
		k := s.signer(signedSite)
		other := s.newSigning(`{"name":"other","scopes":["read"],"credential":{"kind":"shared_secret"}}`)
		wrong := strings.Repeat("wrong", 10)
		for _, first := range []bool{true, false} {
			answers := make(map[string]rig.Answer)
			for what, id := range map[string]string{"live": other.id, "a token's": s.reader.id, "never": "key_01htq9k3sdv7d2w8n4ex", "never either": "key_00000000000000000000"} {
				own := k.signed(k.message, "GET", "/x", "", time.Now())
				by, err := hmacsig.NewSecretSigner(id, []byte(wrong))
				if err != nil {
					s.t.Fatal(err)
				}
				asked := k.signed(by, "GET", "/x", "", time.Now())
				for _, name := range []string{"Signature-Input", "Signature"} {
					second := strings.Replace(asked.Header.Get(name), "sig1=", "sig2=", 1)
					if first {
						own.Header.Set(name, second+", "+own.Header.Get(name))
					} else {
						own.Header.Set(name, own.Header.Get(name)+", "+second)
					}
				}
				answers[what] = s.refused(what, s.copyOf(own, ""), http.StatusBadRequest)
			}
			s.same(answers)
		}
	}},
}
