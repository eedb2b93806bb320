package reports

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

func (s *summary) messages() error {
	if len(s.r.Messages) == 0 {
		return nil
	}
	s.printf("## Messages\n\nLoss at QoS 0 while a client is away is counted and never failed.\n\n")
	head := []string{"count"}
	for _, m := range s.r.Messages {
		head = append(head, fmt.Sprintf("QoS %d", m.QoS))
	}
	var rows [][]string
	for _, line := range messageCounts {
		row := []string{line.name}
		for _, m := range s.r.Messages {
			row = append(row, commas(line.get(m)))
		}
		rows = append(rows, row)
	}
	row := []string{"loss rate, 95 %"}
	for _, m := range s.r.Messages {
		row = append(row, m.lossRate())
	}
	rows = append(rows, row)
	s.table("lr", head, rows)
	for _, m := range s.r.Messages {
		if m.Balance != "" {
			s.printf("- **QoS %d does not add up:** %s\n\n", m.QoS, md(m.Balance))
		}
	}
	return nil
}

// messageCount is one count of the closing balance.
type messageCount struct {
	name  string // for people
	label string // for Prometheus; "" = no message is counted
	get   func(Messages) int64
}

var messageCounts = []messageCount{
	{"streams", "", func(m Messages) int64 { return int64(m.Streams) }},
	{"scheduled", "scheduled", func(m Messages) int64 { return m.Scheduled }},
	{"slots missed", "missed-slots", func(m Messages) int64 { return m.Missed }},
	{"refused by the library", "refused", func(m Messages) int64 { return m.Refused }},
	{"still queued", "queued", func(m Messages) int64 { return m.Queued }},
	{"attempted", "attempted", func(m Messages) int64 { return m.Attempted }},
	{"acknowledged", "acknowledged", func(m Messages) int64 { return m.Acknowledged }},
	{"completed (QoS 2)", "completed", func(m Messages) int64 { return m.Completed }},
	{"indeterminate", "indeterminate", func(m Messages) int64 { return m.Indeterminate }},
	{"deliveries expected", "expected", func(m Messages) int64 { return m.Expected }},
	{"delivered", "delivered", func(m Messages) int64 { return m.Delivered }},
	{"lost", "lost", func(m Messages) int64 { return m.Lost }},
	{"of them while away", "lost-while-away", func(m Messages) int64 { return m.LostAway }},
	{"legal loss", "legal-loss", func(m Messages) int64 { return m.LegalLoss }},
	{"undetermined", "undetermined", func(m Messages) int64 { return m.Undetermined }},
	{"recovered", "recovered", func(m Messages) int64 { return m.Recovered }},
	{"duplicated", "duplicated", func(m Messages) int64 { return m.Duplicated }},
	{"of them forbidden by the QoS", "duplicated-forbidden", func(m Messages) int64 { return m.Forbidden }},
	{"reordered", "reordered", func(m Messages) int64 { return m.Reordered }},
	{"unexpected", "unexpected", func(m Messages) int64 { return m.Unexpected }},
	{"handled by the application", "handled", func(m Messages) int64 { return m.Handled }},
	{"not redelivered", "not-redelivered", func(m Messages) int64 { return m.NotRedelivered }},
	{"lost in the client", "lost-in-client", func(m Messages) int64 { return m.LostInClient }},
	{"stuck", "stuck", func(m Messages) int64 { return m.Stuck }},
	{"misrouted", "misrouted", func(m Messages) int64 { return m.Misrouted }},
	{"at the wrong QoS", "wrong-qos", func(m Messages) int64 { return m.WrongQoS }},
	{"excused by a frame fault", "scripted", func(m Messages) int64 { return m.Scripted }},
}

func (s *summary) unscripted() error {
	if text := s.r.Unscripted.text(); text != "" {
		s.printf("## Unscripted ends\n\nConnections that ended without a fault of the plan: **%s**.\n\n", md(text))
	}
	return nil
}

func (s *summary) warnings() error {
	if len(s.r.Warnings) == 0 {
		return nil
	}
	s.printf("## Warnings\n\n")
	for i, w := range s.r.Warnings {
		if i == maxRows {
			s.printf("- %s\n", plural(int64(len(s.r.Warnings)-maxRows), "more warning"))
			break
		}
		s.printf("- %s\n", md(w))
	}
	s.printf("\n")
	return nil
}

func (s *summary) health() error {
	h := s.r.Harness
	s.printf("## Harness\n\nThe measuring instrument itself: **%s**. ± is the canary's p99, what the harness may add to each time.\n\n", md(h.Fitness))
	if h.MissingHealth {
		s.printf("**Health samples are missing.**\n\n")
	}
	var rows [][]string
	for _, p := range s.r.Phases {
		rows = append(rows, []string{md(p.Name), seconds(p.Start), seconds(p.End - p.Start), md(p.Reason), md(p.Fitness), canaryCell(p.Canary), md(p.Against)})
	}
	if len(rows) > 0 {
		s.table("lrrllll", []string{"phase", "start", "length", "ended by", "fitness", "canary", "held against"}, rows)
	}
	s.quantileTable("whole run", [][]string{
		append([]string{"canary"}, h.Canary.cells(seconds, 0)...),
		append([]string{"echo"}, h.Echo.cells(seconds, 0)...),
	})
	sched := "unknown"
	if h.SchedP99 != nil {
		sched = seconds(*h.SchedP99)
	}
	s.printf("Scheduler latency p99 %s · %s goroutines · %s fds · %s MiB heap · %s CPU · %s listen overflows · %s SYN retransmits (greatest seen)\n\n",
		sched, commas(h.Goroutines), commas(h.FDs), commas(h.HeapBytes>>20), seconds(h.CPUSeconds), commas(h.ListenDrops), commas(h.SynRetrans))
	return nil
}

// canaryCell is the ± of a phase with its n.
func canaryCell(q Quantile) string { return canaryNote(q) + " (" + q.counts("p99") + ")" }

func (s *summary) whatRan() error {
	r, e := s.r, s.r.Environment
	s.printf("## What was run\n\n")
	rows := [][]string{
		{"scenario", md(r.Run.Scenario)},
		{"scenario hash", md(r.Run.ScenarioHash)},
		{"plan hash", md(r.Run.PlanHash)},
		{"seed", fmt.Sprint(r.Run.Seed)},
		{"clients", commas(r.Run.Clients)},
		{"run", md(r.Run.ID)},
		{"started", md(r.Run.StartedAt) + ", took " + seconds(r.Run.Seconds)},
		{"rebound", md(r.Rebound)},
		{"broker", md(r.Target.Broker + " " + r.Target.Version + ", " + r.Target.Kind + ", over " + r.Target.Transport + ", closed by " + r.Target.Closer)},
		{"broker settings", md(pairs(r.Target.Settings))},
		{"driver", md(r.Driver.Name + " " + r.Driver.Version)},
	}
	for _, f := range r.Fleets {
		session := "kept session"
		if f.Clean {
			session = "clean session"
		}
		rows = append(rows, []string{"fleet " + md(f.Name), fmt.Sprintf("%s, %s connected, back = %s, policy %s, %s",
			plural(int64(f.Clients), "client"), commas(f.Connected), md(f.Back), md(f.Policy), session)})
	}
	quota := "no CPU quota"
	if e.CPUQuota > 0 {
		quota = fmt.Sprintf("quota %.2f cores", e.CPUQuota)
	}
	rows = append(rows,
		[]string{"machine", md(fmt.Sprintf("%s/%s, %s, %s, GOMAXPROCS %d, %s, %s MiB, kernel %s, %s fds", e.OS, e.Arch, e.CPU,
			plural(int64(e.Cores), "core"), e.GOMAXPROCS, quota, commas(e.MemoryByte>>20), e.Kernel, commas(e.FDLimit)))},
		[]string{"Go", md(strings.TrimSpace(e.Go + " " + pairs(e.Modules)))})
	s.table("ll", []string{"what", "value"}, rows)
	return nil
}

// pairs writes a map in the order of its keys.
func pairs(m map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+"="+m[k])
	}
	return strings.Join(parts, ", ")
}

func (s *summary) examples() error {
	if len(s.r.LossExamples) == 0 {
		return nil
	}
	s.printf("## Messages whose account is not plain\n\nExamples; losses.csv has every one.\n\n")
	var rows [][]string
	for _, l := range s.r.LossExamples[:min(len(s.r.LossExamples), 20)] {
		sent, away := "–", "–"
		if l.Sent != nil {
			sent = seconds(*l.Sent)
		}
		if l.OutageFrom != nil && l.OutageTo != nil {
			away = seconds(*l.OutageFrom) + " – " + seconds(*l.OutageTo)
		}
		rows = append(rows, []string{md(l.Verdict), fmt.Sprintf("%d/%d", l.Stream, l.Seq), fmt.Sprint(l.QoS), md(l.Topic), md(l.Subscriber), sent, away, md(l.Why)})
	}
	s.table("lrlllrrl", []string{"verdict", "stream/seq", "QoS", "topic", "subscriber", "sent at", "away", "why"}, rows)
	return nil
}

func (s *summary) files() error {
	s.printf("## Files\n\n")
	for _, f := range Formats() {
		s.printf("- `%s`: %s\n", f.File, f.Doc)
	}
	s.printf("\n`rebound report` on this folder computes them again from its evidence.\n")
	return nil
}
