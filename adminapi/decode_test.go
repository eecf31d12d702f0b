package adminapi

import (
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-apikey/caddy-apikey/keyring"
	"github.com/caddy-apikey/caddy-apikey/limit"
)

// Bodies that some decoders accept, or that set what is not the caller's.
func TestCreateRefusesBody(t *testing.T) {
	s := newServer(t)
	for name, tc := range map[string]struct{ body, slug, field string }{
		"other case":          {`{"name":"x","scopes":["read"],"SCOPES":["admin"]}`, "invalid-field", "SCOPES"},
		"title case":          {`{"name":"x","Scopes":["admin"]}`, "invalid-field", "Scopes"},
		"twice":               {`{"name":"x","scopes":["read"],"scopes":["admin"]}`, "invalid-field", "scopes"},
		"twice, escaped":      {`{"name":"x","scopes":["read"],"sco\u0070es":["admin"]}`, "invalid-field", "scopes"},
		"twice in metadata":   {`{"name":"x","metadata":{"a":"1","a":"2"}}`, "invalid-field", "metadata.a"},
		"long s":              {`{"name":"x","ſcopes":["admin"]}`, "invalid-field", "…"},
		"kelvin sign":         {`{"name":"x","to` + "\u212a" + `en":"x"}`, "invalid-field", "…"},
		"second document":     {`{"name":"x"}{"name":"y"}`, "invalid-body", ""},
		"trailing text":       {`{"name":"x"} x`, "invalid-body", ""},
		"trailing comma":      {`{"name":"x",}`, "invalid-body", ""},
		"comment":             {`{"name":"x"/**/}`, "invalid-body", ""},
		"cut off":             {`{"name":"x`, "invalid-body", ""},
		"bad UTF-8":           {"{\"name\":\"\xff\"}", "invalid-body", ""},
		"lone surrogate":      {`{"name":"\ud800"}`, "invalid-body", ""},
		"byte order mark":     {"\ufeff" + `{"name":"x"}`, "invalid-body", ""},
		"null":                {`null`, "invalid-body", ""},
		"list":                {`[{"name":"x"}]`, "invalid-body", ""},
		"blank":               {`  `, "invalid-body", ""},
		"deep value":          {`{"name":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, "invalid-field", "name"},
		"deep unknown":        {`{"x":` + strings.Repeat(`{"a":`, 10_000), "invalid-field", "x"},
		"deep scopes":         {`{"name":"x","scopes":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, "invalid-field", "scopes[0]"},
		"deep list":           {strings.Repeat("[", 60_000), "invalid-body", ""},
		"big number":          {`{"name":1e400}`, "invalid-field", "name"},
		"big number in list":  {`{"name":"x","scopes":[1e400]}`, "invalid-field", "scopes[0]"},
		"number as time":      {`{"name":"x","expires_at":1e400}`, "invalid-field", "expires_at"},
		"number as time 2":    {`{"name":"x","expires_at":4102444800}`, "invalid-field", "expires_at"},
		"text as list":        {`{"name":"x","scopes":"read"}`, "invalid-field", "scopes"},
		"list as object":      {`{"name":"x","metadata":["a"]}`, "invalid-field", "metadata"},
		"number in metadata":  {`{"name":"x","metadata":{"a":1}}`, "invalid-field", "metadata.a"},
		"null in metadata":    {`{"name":"x","metadata":{"a":null}}`, "invalid-field", "metadata.a"},
		"null in list":        {`{"name":"x","allow":[null]}`, "invalid-field", "allow[0]"},
		"null list":           {`{"name":"x","allow":null}`, "invalid-field", "allow"},
		"null name":           {`{"name":null}`, "invalid-field", "name"},
		"no name":             {`{}`, "invalid-field", "name"},
		"id":                  {`{"name":"x","id":"key_00000000000000000000"}`, "invalid-field", "id"},
		"state":               {`{"name":"x","state":"active"}`, "invalid-field", "state"},
		"created_at":          {`{"name":"x","created_at":"2026-01-01T00:00:00Z"}`, "invalid-field", "created_at"},
		"updated_at":          {`{"name":"x","updated_at":null}`, "invalid-field", "updated_at"},
		"revision":            {`{"name":"x","revision":7}`, "invalid-field", "revision"},
		"credentials":         {`{"name":"x","credentials":[]}`, "invalid-field", "credentials"},
		"rotation":            {`{"name":"x","rotation":null}`, "invalid-field", "rotation"},
		"digest":              {`{"name":"x","digest":"00"}`, "invalid-field", "digest"},
		"creator":             {`{"name":"x","creator":"root"}`, "invalid-field", "creator"},
		"revoked":             {`{"name":"x","revoked":false}`, "invalid-field", "revoked"},
		"tenant":              {`{"name":"x","tenant":"other"}`, "invalid-field", "tenant"},
		"allow_anyone":        {`{"name":"x","allow_anyone":true}`, "invalid-field", "allow_anyone"},
		"credential number":   {`{"name":"x","credential":{"n":2}}`, "invalid-field", "credential.n"},
		"credential null":     {`{"name":"x","credential":null}`, "invalid-field", "credential"},
		"secret of a token":   {`{"name":"x","credential":{"secret":"werxhqb98rpaxn39848xrunpaw3489ruxnpa98w4rxn"}}`, "invalid-field", "credential.secret"},
		"signing off":         {`{"name":"x","signing":"off","credential":{"kind":"shared_secret"}}`, "invalid-field", "signing"},
		"no public key":       {`{"name":"x","credential":{"kind":"public_key"}}`, "invalid-field", "credential.public_key"},
		"bad public key":      {`{"name":"x","credential":{"kind":"public_key","public_key":"x"}}`, "invalid-field", "credential.public_key"},
		"empty kind":          {`{"name":"x","credential":{"kind":""}}`, "invalid-field", "credential.kind"},
		"public key":          {`{"name":"x","credential":{"kind":"public_key","public_key":"x"}}`, "invalid-field", "credential.public_key"},
		"other kind":          {`{"name":"x","credential":{"kind":""}}`, "invalid-field", "credential.kind"},
		"credential expired":  {`{"name":"x","credential":{"expires_at":"2020-01-01T00:00:00Z"}}`, "invalid-field", "credential.expires_at"},
		"role":                {`{"name":"x","roles":["reader","writer"]}`, "invalid-field", "roles[1]"},
		"org":                 {`{"name":"x","org":"nowhere"}`, "invalid-field", "org"},
		"scope":               {`{"name":"x","scopes":["ok:read",""]}`, "invalid-field", "scopes[1]"},
		"host bits":           {`{"name":"x","allow":["10.0.0.5/8"]}`, "invalid-field", "allow[0]"},
		"octal address":       {`{"name":"x","allow":["10.0.0.1","010.0.0.0/8"]}`, "invalid-field", "allow[1]"},
		"prefix length":       {`{"name":"x","deny":["10.0.0.0/33"]}`, "invalid-field", "deny[0]"},
		"zone":                {`{"name":"x","deny":["fe80::1%eth0"]}`, "invalid-field", "deny[0]"},
		"range":               {`{"name":"x","deny":["10.0.0.1-9"]}`, "invalid-field", "deny[0]"},
		"empty address":       {`{"name":"x","deny":[""]}`, "invalid-field", "deny[0]"},
		"origin":              {`{"name":"x","origins":["https://a.example/"]}`, "invalid-field", "origins[0]"},
		"signing":             {`{"name":"x","signing":"yes"}`, "invalid-field", "signing"},
		"long name":           {`{"name":"` + strings.Repeat("x", 201) + `"}`, "invalid-field", "name"},
		"line feed":           {`{"name":"x\ny"}`, "invalid-field", "name"},
		"expired":             {`{"name":"x","expires_at":"2020-01-01T00:00:00Z"}`, "invalid-field", "expires_at"},
		"before it begins":    {`{"name":"x","not_before":"2090-01-01T00:00:00Z","expires_at":"2089-01-01T00:00:00Z"}`, "invalid-field", "expires_at"},
		"zero time":           {`{"name":"x","expires_at":"0001-01-01T00:00:00Z"}`, "invalid-field", "expires_at"},
		"nearly zero time":    {`{"name":"x","expires_at":"0001-01-01T00:00:00.0004Z"}`, "invalid-field", "expires_at"},
		"year 10000":          {`{"name":"x","expires_at":"9999-12-31T23:59:59-12:00"}`, "invalid-field", "expires_at"},
		"no offset":           {`{"name":"x","expires_at":"2090-01-01T00:00:00"}`, "invalid-field", "expires_at"},
		"date only":           {`{"name":"x","expires_at":"2090-01-01"}`, "invalid-field", "expires_at"},
		"empty time":          {`{"name":"x","expires_at":""}`, "invalid-field", "expires_at"},
		"duration for a time": {`{"name":"x","expires_at":"30d"}`, "invalid-field", "expires_at"},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.do("POST", "keys", tc.body).problem(400, tc.slug, tc.field)
		})
	}
	s.t = t
	s.do("GET", "keys", "").want(200).is(`[]`, "keys")
	// A field that the server sets says so.
	if a := s.do("POST", "keys", `{"name":"x","revision":7}`); !strings.Contains(a.text("detail"), "is set by the server") {
		t.Errorf("detail %q", a.text("detail"))
	}
}

// What is refused is never repeated: it could be a secret in the wrong place.
func TestErrorsNeverRepeatBodies(t *testing.T) {
	const secret = "ck_0123456789abcdefghijABCDEFGHIJ0123456789abcdefghijk"
	newServer(t)
	kr := testKeyring.Load()
	for _, body := range []string{
		`{"` + secret + `":1}`, `{"name":["` + secret + `"]}`, `{"scopes":[["` + secret + `"]]}`, `{"name":"` + secret + `\q"}`, `{"expires_at":"` + secret + `"}`,
		`{"roles":["` + secret + `"]}`, `{"metadata":{"` + secret + `":1}}`, `{"metadata":{"` + secret + `":"","` + secret + `":""}}`, `{"credential":{"kind":"` + secret + `"}}`,
		secret, `{"name":` + secret + `}`,
	} {
		var in createInput
		err := decodeObject([]byte(body), &in)
		if err == nil {
			var k keyring.Key
			err = in.apply(&k, new(testApp))
		}
		var issue keyring.Issue
		if err == nil {
			issue, err = in.Credential.value.issue(new(testApp))
		}
		if err == nil {
			_, _, err = kr.Create(t.Context(), keyring.Key{Name: "n"}, issue)
		}
		p := problemOf(err, false)
		if err == nil || strings.Contains(p.detail+p.field, secret[:12]) {
			t.Errorf("%s: %v, %+v", body, err, p)
		}
	}
}

func TestFieldName(t *testing.T) {
	for pointer, want := range map[string]string{
		"/keys/3/scopes/0":                       "keys[3].scopes[0]",
		"/metadata/a~1b":                         "metadata.…",
		"/0":                                     "0",
		"":                                       "",
		"/" + strings.Repeat("x", 19) + "/allow": "….allow",
	} {
		if got := fieldName(jsontext.Pointer(pointer)); got != want {
			t.Errorf("%s is %s, want %s", pointer, got, want)
		}
	}
}

// FuzzDecodeKeyInput: no body makes the decoder panic, and what is accepted says
// the same when it is written as an answer and read again.
func FuzzDecodeKeyInput(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"name":"x","scopes":["a:read"],"metadata":{"a":"b"}}`, `{"allow":["10.0.0.0/8","::1"],"deny":[]}`,
		`{"not_before":null,"expires_at":"2090-01-01T00:00:00.5+02:00"}`, `{"roles":["reader"],"tags":["a","b"],"signing":"off"}`,
		`{"name":"x","name":"y"}`, `{"NAME":"x"}`, `{"name":1e400}`, `[[[[`, `{"credential":{"kind":"token"}}`, `{"metadata":{"a":null}}`, `{"limits":["5/month","100/90s"]}`, `{"client_certs":["` + strings.Repeat("aF", 32) + `"]}`, "{\"name\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var first keyring.Key
		var in createInput
		if decodeObject(body, &in) != nil || in.apply(&first, anyDefined{}) != nil {
			return
		}
		answer, err := json.Marshal(struct {
			Name      string            `json:"name"`
			Org       string            `json:"org"`
			Owner     string            `json:"owner"`
			Purpose   string            `json:"purpose"`
			Tier      string            `json:"tier"`
			Limits    []string          `json:"limits"`
			Scopes    []string          `json:"scopes"`
			Roles     []string          `json:"roles"`
			Allow     []string          `json:"allow"`
			Deny      []string          `json:"deny"`
			Origins   []string          `json:"origins"`
			Certs     []string          `json:"client_certs"`
			Signing   keyring.Signing   `json:"signing"`
			Tags      []string          `json:"tags"`
			Metadata  map[string]string `json:"metadata"`
			NotBefore *string           `json:"not_before"`
			ExpiresAt *string           `json:"expires_at"`
		}{first.Name, first.Org, first.Owner, first.Purpose, first.Tier, limit.Texts(first.Limits), first.Scopes, first.Roles, viewAddrs(first.Allow), viewAddrs(first.Deny),
			first.Origins, viewCerts(first.ClientCerts), first.Signing, first.Tags, first.Metadata, viewLimit(first.NotBefore), viewLimit(first.ExpiresAt)})
		if err != nil {
			t.Fatalf("%q was accepted and cannot be written: %v", body, err)
		}
		var second keyring.Key
		var again createInput
		if err := decodeObject(answer, &again); err != nil {
			t.Fatalf("%q became %s: %v", body, answer, err)
		}
		if err := again.apply(&second, anyDefined{}); err != nil {
			t.Fatalf("%q became %s: %v", body, answer, err)
		}
		normalize(&first)
		normalize(&second)
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("%q\nread  %+v\nagain %+v", body, first, second)
		}
	})
}

// anyDefined is a configuration that defines everything.
type anyDefined struct{}

func (anyDefined) HasRole(string) bool { return true }
func (anyDefined) HasTier(string) bool { return true }

// normalize makes "none" one value.
func normalize(k *keyring.Key) {
	for _, list := range []*[]string{&k.Scopes, &k.Roles, &k.Origins, &k.Tags} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	if len(k.Metadata) == 0 {
		k.Metadata = nil
	}
	if len(k.Allow) == 0 {
		k.Allow = nil
	}
	if len(k.Deny) == 0 {
		k.Deny = nil
	}
}
