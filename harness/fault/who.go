package fault

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// readWho reads whom a fault acts on: clients of its fleet by index, in the
// order in which they are hit, and the rule for the reader of the plan. A nil
// fleet is one that is not there, which is a mistake already. Without clients
// f or its who has a mistake.
func readWho(f *scenarios.Fields, fleet *scenarios.PlanFleet, seed uint64) (clients []int, rule string, who *scenarios.Fields) {
	who = f.Sub("who")
	share, count := who.Share("share", 1), who.Count("count", 0)
	seeded := uint64(who.Count("seeded", 0))
	if who.Has("share") && share == 0 || who.Has("count") && count == 0 {
		f.Fail("who", "who names no victim")
	}
	if fleet == nil {
		return nil, "", who
	}
	if who.Has("list") {
		for _, other := range []string{"share", "count", "label", "seeded"} {
			if who.Has(other) {
				who.Fail(other, "who: a list names its clients, %s has no meaning beside it", other)
			}
		}
		who.Sub("label")
		clients = who.Numbers("list", fleet.Clients)
		return clients, "list " + ranges(clients), who
	}
	from, label := labelled(who, fleet)
	n := len(from)
	if count > n {
		who.Fail("count", "count is %d, and %s", count, population(fleet, label, n))
		return nil, "", who
	}
	rule = fmt.Sprintf("count %d", count)
	if !who.Has("count") {
		count, rule = countOf(share, n), "share "+scenarios.FormatShare(share)
	}
	if label != "" {
		rule += " of " + label
	}
	if who.Has("seeded") {
		seed = seeded
		rule += fmt.Sprintf(", seeded %d", seeded)
	}
	for _, i := range pick(n, count, seed) {
		clients = append(clients, from[i])
	}
	return clients, rule, who
}

// labelled gives the clients that have every label that who names, by index,
// and the labels in words; without any, all clients.
func labelled(who *scenarios.Fields, fleet *scenarios.PlanFleet) (clients []int, words string) {
	clients = make([]int, fleet.Clients)
	for i := range clients {
		clients[i] = i
	}
	if !who.Has("label") {
		return clients, ""
	}
	label := who.Sub("label")
	var all []string
	for _, name := range label.Keys() {
		value := label.Text(name, "")
		all = append(all, name+"="+value)
		values, has := fleet.Labels[name]
		switch {
		case !has && len(fleet.Labels) == 0:
			label.Fail(name, "label: fleet %s has no labels", fleet.Name)
		case !has:
			label.Fail(name, "label: fleet %s has no label %q, it has %s", fleet.Name, name, strings.Join(slices.Sorted(maps.Keys(fleet.Labels)), ", "))
		case values[value] == 0:
			label.Fail(name, "label: %s of fleet %s is %s, never %q", name, fleet.Name, strings.Join(slices.Sorted(maps.Keys(values)), " or "), value)
		default:
			with := map[int]bool{}
			for _, i := range fleet.With(name, value) {
				with[i] = true
			}
			clients = slices.DeleteFunc(clients, func(i int) bool { return !with[i] })
			continue
		}
		clients = nil
	}
	words = strings.Join(all, ", ")
	if len(clients) == 0 && label.Err() == nil {
		who.Fail("label", "who names no victim: %s", population(fleet, words, 0))
	}
	return clients, words
}

// population says in words how many clients there are to pick from.
func population(fleet *scenarios.PlanFleet, label string, n int) string {
	if label == "" {
		return fmt.Sprintf("fleet %s has %d clients", fleet.Name, n)
	}
	return fmt.Sprintf("fleet %s has %d clients with %s", fleet.Name, n, label)
}

// ranges writes numbers in their order, neighbours as 10-20.
func ranges(numbers []int) string {
	var parts []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		text := strconv.Itoa(numbers[i])
		if j > i {
			text += "-" + strconv.Itoa(numbers[j])
		}
		parts, i = append(parts, text), j+1
	}
	return strings.Join(parts, ", ")
}
