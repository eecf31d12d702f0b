package attack

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/caddy-apikey/caddy-apikey/internal/rig"
)

// framing is L04: where one request ends and the next begins.
func framing(s *scene) {
	const inner = "GET /admin/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for what, body := range map[string]string{
		"length and chunked": "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner, "chunked and length": fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n%s", 5+len(inner), inner),
		"xchunked": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + inner, "identity": "Transfer-Encoding: identity\r\n\r\n" + inner, "chunked, identity": "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + inner,
		"gzip, chunked": "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + inner, "chunked twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner, "chunked and x": "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" + inner,
		"vertical tab": "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n" + inner, "quoted": "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n" + inner, "blank before the colon": "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + inner,
		"parameter": "Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n" + inner, "empty": "Transfer-Encoding:\r\n\r\n0\r\n\r\n" + inner, "two lengths": "Content-Length: 0\r\nContent-Length: 43\r\n\r\n" + inner,
		"list of lengths": "Content-Length: 0, 43\r\n\r\n" + inner, "plus": "Content-Length: +5\r\n\r\nabcde" + inner, "minus": "Content-Length: -1\r\n\r\n" + inner, "hexadecimal": "Content-Length: 0x5\r\n\r\nabcde" + inner, "blank inside": "Content-Length: 4 3\r\n\r\n" + inner,
		"too long": "Content-Length: 99999999999999999999\r\n\r\n" + inner, "other digits": "Content-Length: \u0665\r\n\r\nabcde" + inner, "underscore": "Content-Length: 1_0\r\n\r\n" + inner, "no digits": "Content-Length:\r\n\r\n" + inner,
		"chunk 0x": "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + inner, "chunk plus": "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n" + inner, "chunk too long": "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + inner, "chunk without end": "Transfer-Encoding: chunked\r\n\r\n2\r\nhi0\r\n\r\n" + inner,
		"chunk underscore": "Transfer-Encoding: chunked\r\n\r\n0_0\r\n\r\n" + inner, "line feed in an extension": "Transfer-Encoding: chunked\r\n\r\n2;\n" + "hi\r\n0\r\n\r\n" + inner, "CR in an extension": "Transfer-Encoding: chunked\r\n\r\n2;a\rb\r\nhi\r\n0\r\n\r\n" + inner,
	} {
		s.alone(what, body)
	}
	for what, body := range map[string]string{
		"tab": "Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n" + inner, "folded": "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + inner, "capitals": "Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n" + inner, "same length twice": "Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + inner,
		"extension": "Transfer-Encoding: chunked\r\n\r\n0;a=b;c\r\n\r\n" + inner, "leading zeros": "Transfer-Encoding: chunked\r\n\r\n000\r\n\r\n" + inner,
	} {
		s.alone("valid: "+what, body)
	}

	s.Load(cleartextH2, site)
	head := append(s.head("POST", "/public/x"), lower(s.writer.bearer()))
	for what, send := range map[string]func() rig.Answer{
		"transfer-encoding": s.h2body(inner, append(head, "transfer-encoding: chunked")...), "transfer-encoding and length": s.h2body(inner, append(head, "transfer-encoding: chunked", "content-length: 0")...),
		"line break in a value": s.h2body(inner, append(head, "x-a: b\r\n\r\n"+inner)...), "line feed in a value": s.h2(append(head, "x-a: b\nx-key-id: forged")...), "line break in a name": s.h2(append(head, "x-a: b\r\nx-key-id: forged")...),
		"line break in the method": s.h2(append(s.head("POST /public/x HTTP/1.1\r\nX: y", "/public/x"), lower(s.writer.bearer()))...), "line break in the authority": s.h2(":method: POST", ":scheme: http", ":path: /public/x", ":authority: "+s.Site+"\r\nX-A: b", lower(s.writer.bearer())),
		"plus": s.h2body("abcde", append(head, "content-length: +5")...), "not a number": s.h2body("abcde", append(head, "content-length: x")...), "blank in a name": s.h2(append(head, "x a: b")...), "colon in a name": s.h2(append(head, "x:a: b")...), "empty name": s.h2(append(head, "\x00: b")...),
	} {
		s.refused("HTTP/2 "+what, send, http.StatusBadRequest, http.StatusNotImplemented, reset)
	}
	for what, send := range map[string]func() rig.Answer{
		"length too short": s.h2body("hi"+inner, append(head, "content-length: 2")...), "length too long": s.h2body("hi", append(head, "content-length: 99")...), "two lengths": s.h2body("hi", append(head, "content-length: 2", "content-length: 99")...),
		"length 0": s.h2body(inner, append(head, "content-length: 0")...),
	} {
		before := s.Upstream.Hits()
		send()
		if hits := s.Upstream.Hits() - before; hits > 1 || hits == 1 && !strings.HasPrefix(s.Upstream.Last(), "POST /public/x ") {
			s.t.Errorf("HTTP/2 %s: %d requests reached the upstream, the last one:\n%s", what, hits, s.mask(s.Upstream.Last()))
		}
	}
}

// alone sends a request with another one behind it or in its body, and checks
// that at most the first reaches the upstream, with one framing: the second is
// either part of the first one's body or a request of its own, without a key.
func (s *scene) alone(what, rest string) {
	s.t.Helper()
	before := s.Upstream.Hits()
	stream := s.Raw("POST /public/x HTTP/1.1\r\nHost: " + s.Site + "\r\n" + s.writer.bearer() + "\r\nConnection: close\r\n" + rest)
	hits, last := s.Upstream.Hits()-before, s.Upstream.Last()
	switch {
	case strings.HasPrefix(stream, "HTTP/1.1 4"), strings.HasPrefix(stream, "HTTP/1.1 50"):
		if hits != 0 {
			s.t.Errorf("%s: refused, but %d requests reached the upstream", what, hits)
		}
	case hits != 1, !strings.HasPrefix(last, "POST /public/x HTTP/1.1\r\n"), strings.Count(last, "\r\nContent-Length:")+strings.Count(last, "\r\nTransfer-Encoding:") != 1, strings.Contains(last, "smuggled"):
		s.t.Errorf("%s: %d requests reached the upstream, the last one:\n%s\nthe answer was %.300s", what, hits, s.mask(last), stream)
	}
}
