package adminapi

import (
	"encoding/csv"
	"net/http"
	"strings"
)

// wantsCSV reads the parameter format.
func (c *call) wantsCSV() (bool, error) {
	switch c.r.URL.Query().Get("format") {
	case "", "json":
		return false, nil
	case "csv":
		return true, nil
	}
	return false, refusal(invalidQuery, "format is json or csv.")
}

// table is an answer in CSV.
type table struct{ w *csv.Writer }

// csv begins an answer in CSV, which is offered as a file.
func (c *call) csv(name string, header ...string) table {
	c.w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
	c.w.Header().Set("Content-Disposition", `attachment; filename="`+name+`.csv"`)
	c.w.WriteHeader(http.StatusOK)
	t := table{csv.NewWriter(c.w)}
	_ = t.w.Write(header) // an error stays with the writer
	return t
}

// row writes one line.
func (t table) row(cells ...string) {
	for i := range cells {
		cells[i] = inert(cells[i])
	}
	_ = t.w.Write(cells)
}

// end reports whether all was written.
func (t table) end() error {
	t.w.Flush()
	return t.w.Error()
}

// inert keeps a spreadsheet from taking what a caller wrote for a formula.
func inert(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
