package attack

import "net/http"

// extraction is class A: the credential of a request can be read in two ways, or
// is none.
var extraction = []attack{
	{"A01_header_on_two_lines", func(s *scene) {
		for _, pair := range [][2]caller{{s.reader, s.admin}, {s.admin, s.reader}, {s.reader, s.reader}} {
			for _, path := range []string{"/public/x", "/admin/x"} {
				s.refused("X-API-Key twice", s.raw("GET "+path+" HTTP/1.1", pair[0].header(), pair[1].header()), http.StatusBadRequest)
				s.refused("Authorization twice", s.raw("GET "+path+" HTTP/1.1", pair[0].bearer(), pair[1].bearer()), http.StatusBadRequest)
			}
		}
	}},
	{"A02_two_places", func(s *scene) {
		s.refused("header and query", s.get("/public/x?"+s.admin.query(), s.reader.bearer()), http.StatusBadRequest)
		s.refused("valid header, junk query", s.get("/public/x?api_key=junk", s.reader.bearer()), http.StatusBadRequest)
		s.refused("junk header, valid query", s.get("/public/x?"+s.reader.query(), "X-API-Key: junk"), http.StatusBadRequest)
		s.refused("both headers", s.get("/public/x", s.reader.bearer(), s.reader.header()), http.StatusBadRequest)
	}},
}
