package kernel

import (
	"fmt"
	"strings"
	"time"
)

// The kinds of rules, named as the faults that lay them down.
const (
	Drop     = "nft-drop"   // packets vanish
	Reject   = "nft-reject" // packets are answered with a TCP reset
	SYNLimit = "syn-limit"  // first packets of connections vanish above a rate
	Netem    = "netem"      // packets are delayed and lost at random
)

// Kinds lists the kinds of rules.
func Kinds() []string { return []string{Drop, Reject, SYNLimit, Netem} }

// The directions of a rule, as the clients see them.
const (
	Both = "both"
	Up   = "up"   // from the clients to the broker
	Down = "down" // from the broker to the clients
)

// Rule is what the kernel is to do to the packets of the broker's ports.
type Rule struct {
	Kind      string
	Direction string        // of Drop and Reject; "" = Both
	Rate      float64       // of SYNLimit: new connections per second
	Burst     int           // of SYNLimit: more of them at once
	Delay     time.Duration // of Netem: of each packet, in each direction
	Jitter    time.Duration // of Netem: the delay varies by this much
	Loss      float64       // of Netem: share of the packets
}

// Scope is which packets the rules of a run act on; Netem acts on all packets
// of the loopback.
type Scope struct {
	Ports  []int  // of the broker
	Exempt string // address whose connections are left alone; "" = none
}

// nft is the ruleset of a rule in a table of its own. The rules sit where
// packets arrive: a packet that is dropped on its way out may tell its sender.
func (r Rule) nft(table string, s Scope) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n  chain arriving {\n    type filter hook input priority 0; policy accept;\n", table)
	if s.Exempt != "" {
		fmt.Fprintf(&b, "    ip saddr %s accept\n    ip daddr %s accept\n", s.Exempt, s.Exempt)
	}
	for _, match := range r.matches(s.Ports) {
		fmt.Fprintf(&b, "    %s\n", match)
	}
	b.WriteString("  }\n}\n")
	return b.String()
}

func (r Rule) matches(ports []int) []string {
	var list []string
	for _, p := range ports {
		list = append(list, fmt.Sprint(p))
	}
	set := "{ " + strings.Join(list, ", ") + " }"
	if r.Kind == SYNLimit {
		return []string{fmt.Sprintf("tcp dport %s tcp flags & (syn | ack) == syn limit rate over %s burst %d packets drop", set, nftRate(r.Rate), max(1, r.Burst))}
	}
	act := "drop"
	if r.Kind == Reject {
		// Not the resets themselves: they are how the other end is told.
		act = "tcp flags & rst == 0 reject with tcp reset"
	}
	var matches []string
	if r.Direction != Down {
		matches = append(matches, fmt.Sprintf("tcp dport %s %s", set, act))
	}
	if r.Direction != Up {
		matches = append(matches, fmt.Sprintf("tcp sport %s %s", set, act))
	}
	return matches
}

// nftRate writes a rate in whole packets, which is all that nft takes.
func nftRate(perSecond float64) string {
	for _, unit := range []struct {
		name    string
		seconds float64
	}{{"second", 1}, {"minute", 60}, {"hour", 3600}} {
		if n := perSecond * unit.seconds; n >= 1 && n == float64(int64(n)) {
			return fmt.Sprintf("%d/%s", int64(n), unit.name)
		}
	}
	return fmt.Sprintf("%d/hour", max(1, int64(perSecond*3600)))
}

// tc is the command line of a queueing discipline.
func (r Rule) tc() []string {
	args := []string{"qdisc", "replace", "dev", loopback, "root", "netem"}
	if r.Delay > 0 {
		args = append(args, "delay", micros(r.Delay))
		if r.Jitter > 0 {
			args = append(args, micros(r.Jitter))
		}
	}
	if r.Loss > 0 {
		args = append(args, "loss", fmt.Sprintf("%.4f%%", 100*r.Loss))
	}
	return args
}

func micros(d time.Duration) string { return fmt.Sprintf("%dus", d.Microseconds()) }
