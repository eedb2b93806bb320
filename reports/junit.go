package reports

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// writeJUnit writes junit.xml of one run.
func writeJUnit(w io.Writer, r *Report) error { return writeJUnitSet(w, []*Report{r}) }

// writeJUnitSet writes runs in the XML of the JUnit task of Apache Ant, which CI
// servers read. Each run has three suites: the run itself, its checks and its
// expectations, a case for each that applies.
//
// A case fails where it may fail the run. One that is excused, by a known defect
// or by on_fail: warn, passes and is named in the output of its suite. Unknown is
// skipped. The case of the run is an error where the run ended badly and no other
// case would say so, for a CI server does not see the exit code.
func writeJUnitSet(w io.Writer, reports []*Report) error {
	doc := junitSuites{}
	for i, r := range reports {
		class := "rebound." + plain(r.Run.Scenario)
		if len(reports) > 1 {
			class += fmt.Sprintf(".run-%03d", i+1)
		}
		checks, expectations := r.junitChecks(class), r.junitExpectations(class)
		doc.Suites = append(doc.Suites, r.junitRun(class, checks, expectations), checks, expectations)
	}
	for i := range doc.Suites {
		doc.Suites[i].ID = i
		doc.Suites[i].count()
	}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	enc := xml.NewEncoder(&b)
	enc.Indent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return fmt.Errorf("write junit: %w", err)
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Suites  []junitSuite `xml:"testsuite"`
}

// junitSuite has each attribute and element that the schema asks for, the empty
// ones included. The host is never named.
type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Package    string          `xml:"package,attr"`
	ID         int             `xml:"id,attr"`
	Timestamp  string          `xml:"timestamp,attr"`
	Hostname   string          `xml:"hostname,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
	Out        string          `xml:"system-out"`
	Err        string          `xml:"system-err"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

// junitCase has at most one outcome; without one it passed.
type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Time    string        `xml:"time,attr"`
	Skipped *junitOutcome `xml:"skipped"`
	Error   *junitOutcome `xml:"error"`
	Failure *junitOutcome `xml:"failure"`
}

type junitOutcome struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

func (s *junitSuite) count() {
	s.Tests = len(s.Cases)
	for _, c := range s.Cases {
		switch {
		case c.Failure != nil:
			s.Failures++
		case c.Error != nil:
			s.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
}

func (r *Report) junitSuite(class, name string) junitSuite {
	at, err := time.Parse(time.RFC3339, r.Run.StartedAt)
	if err != nil {
		at = time.Unix(0, 0)
	}
	return junitSuite{
		Name: class + "." + name, Package: class, Hostname: "localhost", Time: "0",
		Timestamp: at.UTC().Format("2006-01-02T15:04:05"),
		Properties: []junitProperty{
			{"run", plain(r.Run.ID)}, {"seed", fmt.Sprint(r.Run.Seed)}, {"clients", fmt.Sprint(r.Run.Clients)},
			{"broker", plain(r.Target.Broker + " " + r.Target.Version + " " + r.Target.Kind)},
			{"driver", plain(r.Driver.Name + " " + r.Driver.Version)}, {"rebound", plain(r.Rebound)},
		},
	}
}

// add appends a case, and keeps its name apart from those before it: a CI server
// takes equal names for one case.
func (s *junitSuite) add(name string, c junitCase) {
	c.Name, c.Class, c.Time = plain(name), s.Name, "0"
	same := 1
	for _, other := range s.Cases {
		if other.Name == c.Name || strings.HasPrefix(other.Name, c.Name+" (again ") {
			same++
		}
	}
	if same > 1 {
		c.Name += fmt.Sprintf(" (again %d)", same)
	}
	s.Cases = append(s.Cases, c)
}

// outcome is the case of a verdict; message says what was found.
func (s *junitSuite) outcome(v Verdict, fails bool, name, message, text string) {
	c, o := junitCase{}, &junitOutcome{Message: plain(message), Text: lines(text)}
	switch {
	case v == Valid:
	case v == Invalid && fails:
		o.Type = string(Invalid)
		c.Failure = o
	case v == Invalid:
		s.Out += plain(name+": excused, "+message) + "\n"
	default:
		c.Skipped = o
	}
	s.add(name, c)
}

func (r *Report) junitChecks(class string) junitSuite {
	s := r.junitSuite(class, "checks")
	for _, c := range r.Checks {
		if c.Verdict == NotApplicable {
			continue
		}
		text := c.Examples
		if who := c.charged(); who != "" {
			text = append([]string{"charged to " + who}, text...)
		}
		s.outcome(c.Verdict, r.failsBy(c), c.Name, c.found(), strings.Join(text, "\n"))
	}
	return s
}

func (r *Report) junitExpectations(class string) junitSuite {
	s := r.junitSuite(class, "expectations")
	for _, e := range r.Expectations {
		if e.Verdict == NotApplicable {
			continue
		}
		var notes []string
		if e.Why != "" {
			notes = append(notes, e.Why)
		}
		if e.Known != "" {
			notes = append(notes, "known defect: "+e.Known)
		}
		if e.Unit == "s" {
			notes = append(notes, "harness "+r.Harness.Fitness+", "+canaryNote(r.canaryOf(e.Phase)))
		}
		s.outcome(e.Verdict, r.failsOn(e), e.Text, e.found(), strings.Join(notes, "\n"))
	}
	return s
}

// junitRun is the suite of the run itself. Its output is the ten-second summary.
func (r *Report) junitRun(class string, others ...junitSuite) junitSuite {
	s := r.junitSuite(class, "run")
	s.Time = float(max(0, r.Run.Seconds))
	told := junitSuite{}
	for _, other := range others {
		told.Cases = append(told.Cases, other.Cases...)
	}
	told.count()
	word := r.word()
	message := fmt.Sprintf("%s, exit code %d", word, r.ExitCode)
	var c junitCase
	switch {
	case r.Run.Aborted != "":
		c.Error = &junitOutcome{Message: plain(message + ": aborted: " + r.Run.Aborted), Type: "aborted"}
	case !r.Run.Complete:
		c.Error = &junitOutcome{Message: message + ": the evidence ends without its closing mark", Type: "incomplete"}
	case word == "PASS", word == "FAIL" && told.Failures > 0, word == "UNKNOWN" && told.Skipped+told.Failures > 0:
	case word == "UNKNOWN":
		c.Skipped = &junitOutcome{Message: message}
	default:
		c.Error = &junitOutcome{Message: message, Type: strings.ToLower(word)}
	}
	s.add("the run was done", c)
	s.Cases[0].Time = s.Time
	var b bytes.Buffer
	if err := Terminal(&b, r, TerminalOptions{}); err == nil {
		s.Out = lines(b.String())
	}
	return s
}

// lines makes text from outside safe line by line, and keeps the lines.
func lines(text string) string {
	all := strings.Split(text, "\n")
	for i := range all {
		all[i] = plain(all[i])
	}
	return strings.Join(all, "\n")
}
