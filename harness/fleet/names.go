package fleet

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// ControlFleet is the name of the built-in fleet that publishes and probes.
const ControlFleet = "control"

// controlID is the client id template of the control fleet.
const controlID = "rb-{fleet}-{run}-{index}"

var (
	indexField = regexp.MustCompile(`\{index(?::0?(\d{1,2}))?\}`)
	address    = regexp.MustCompile(`[^\s]*:\d+(->[^\s]*:\d+)?`)
)

// ClientID fills a client id template: {run}, {fleet}, {index} and {index:06}
// (zero-padded to that width).
func ClientID(template, run, fleet string, index int) string {
	id := strings.NewReplacer("{run}", run, "{fleet}", fleet).Replace(template)
	return indexField.ReplaceAllStringFunc(id, func(field string) string {
		width := 0
		if m := indexField.FindStringSubmatch(field); m[1] != "" {
			width, _ = strconv.Atoi(m[1]) // one or two digits: can't fail
		}
		return fmt.Sprintf("%0*d", width, index)
	})
}

// pattern is a regular expression of all ids that ClientID makes.
func pattern(template, run, fleet string) string {
	id := strings.NewReplacer("{run}", run, "{fleet}", fleet).Replace(template)
	var b strings.Builder
	at := 0
	for _, field := range indexField.FindAllStringIndex(id, -1) {
		b.WriteString(regexp.QuoteMeta(id[at:field[0]]) + `(\d+)`)
		at = field[1]
	}
	return b.String() + regexp.QuoteMeta(id[at:])
}

// Topic fills a topic template: {client}, and {run} for topics made in Go (the
// scenario language knows {client} only).
func Topic(template, run, clientID string) string {
	return strings.NewReplacer("{client}", clientID, "{run}", run).Replace(template)
}

// plain is the text of a dial error without addresses: records name no hosts.
func plain(err error) string {
	var (
		errno syscall.Errno
		dns   *net.DNSError
	)
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &dns):
		return "lookup: " + dns.Err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded.Error()
	}
	return address.ReplaceAllString(err.Error(), "address")
}
