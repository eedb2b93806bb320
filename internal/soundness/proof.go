package main

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rebound-mqtt/rebound/reports"
)

// proofs finds the evidence of each charge of a report's invalid checks: the
// first line of losses.csv or findings.jsonl.gz that bears it out, else the
// check's own example. Keys are check and charge.
func proofs(dir string, r *reports.Report) map[string]string {
	lines := map[string]string{}
	note := func(key, where string) {
		if _, have := lines[key]; !have {
			lines[key] = where
		}
	}
	losses(filepath.Join(dir, "losses.csv"), note)
	findings(filepath.Join(dir, "findings.jsonl.gz"), note)

	out := map[string]string{}
	for _, c := range r.Checks {
		for charge := range c.Charges {
			key := proofKey(c.Name, charge)
			switch where, found := lines[key]; {
			case c.Verdict != reports.Invalid:
			case found:
				out[key] = where
			case len(c.Charges) == 1 && len(c.Examples) > 0:
				out[key] = "report.json: " + c.Examples[0]
			}
		}
	}
	return out
}

func proofKey(check, charge string) string { return check + " " + charge }

// losses notes the first row of each verdict and charge. A file that can not
// be read proves nothing.
func losses(path string, note func(key, where string)) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	r := csv.NewReader(f)
	head, err := r.Read()
	if err != nil {
		return
	}
	column := map[string]int{}
	for i, name := range head {
		column[name] = i
	}
	for {
		row, err := r.Read()
		if err != nil {
			return
		}
		get := func(name string) string {
			if i, ok := column[name]; ok && i < len(row) {
				return row[i]
			}
			return ""
		}
		if get("fault") == "true" {
			line, _ := r.FieldPos(0)
			note(proofKey(get("verdict"), get("charge")), fmt.Sprintf("losses.csv:%d: %s #%s %s", line, get("topic"), get("seq"), get("cause")))
		}
	}
}

// findings notes the first line of each rule and charge.
func findings(path string, note func(key, where string)) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return
	}
	scan := bufio.NewScanner(z)
	scan.Buffer(nil, 1<<20)
	for n := 1; scan.Scan(); n++ {
		var line struct {
			Rule, Charge, Detail, ID string
			Warn                     bool
		}
		if json.Unmarshal(scan.Bytes(), &line) == nil && !line.Warn && line.Rule != "" {
			note(proofKey(line.Rule, line.Charge), fmt.Sprintf("findings.jsonl.gz line %d: %s: %s", n, line.ID, strings.TrimSpace(line.Detail)))
		}
	}
}
