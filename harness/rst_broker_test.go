package harness

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/fault"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const byBroker = "{rst: {who: {list: [0, 1, 2]}, by: broker}}"

// TestResetsByTheBroker: the broker itself resets three clients, which is a hit
// of each, with the instant of the close; nobody else sees anything.
func TestResetsByTheBroker(t *testing.T) {
	t.Parallel()
	for _, on := range []string{broker.KindEmbedded, broker.KindChild} {
		t.Run(on, func(t *testing.T) {
			r, dir := play(t, scenario(t, onLinks, "# storm", storm(byBroker)), PlanOptions{Target: on}, Options{})
			clean(t, r)
			if err := shows(t, r, dir, timeline.EndReset); err != nil {
				t.Error(err)
			}
			for i, o := range byIndex(t, dir) {
				if o.Parts.Close < 0 || !o.Parts.ClosedKnown {
					t.Errorf("client %d: close %v", i, o.Parts)
				}
			}
		})
	}
}

// TestPlantedResetsByTheBroker: a whole run shows a broker whose reset is a FIN,
// or hits another client.
func TestPlantedResetsByTheBroker(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(ctx context.Context, env *fault.Env, id string){
		"a FIN": func(ctx context.Context, env *fault.Env, id string) { _, _ = env.Closer.CloseConnection(ctx, id) },
		"of another client": func(ctx context.Context, env *fault.Env, id string) {
			other := id[:len(id)-1] + string(id[len(id)-1]+3)
			_, _ = env.Target.(target.Resetter).Reset(ctx, other)
		},
	} {
		t.Run(name, func(t *testing.T) {
			tables := planted("rst", func(f fault.Fault, pf scenarios.PlanFault) fault.Fault {
				return wrongReset{f, pf.Victims, do}
			})
			r, dir := playWith(t, tables, scenario(t, onLinks, "# storm", strings.ReplaceAll(storm(byBroker), "40s", "2s")))
			err := shows(t, r, dir, timeline.EndReset)
			if err == nil {
				t.Error("not caught")
			}
			t.Log(err)
		})
	}
}

// TestWhoCanReset: a target that can not is refused while planning, with those
// that can; the default asks for nothing, and leaves hashes as they were.
func TestWhoCanReset(t *testing.T) {
	t.Parallel()
	sc := scenario(t, onLinks, "# storm", storm(byBroker))
	for _, o := range []PlanOptions{{Target: "mosquitto"}, {Target: "tcp://127.0.0.1:1", Kick: CloserFIN}} {
		o.Tables = DefaultTables()
		_, err := NewPlan(sc, o)
		var mistakes scenarios.Errors
		if !errors.As(err, &mistakes) || !strings.HasSuffix(err.Error(), "can not do this: run it with --target embedded or --target child") {
			t.Errorf("%s: %v", o.Target, err)
		}
		if code := ExitCode(err); code != ExitUsage {
			t.Errorf("%s: exit %d", o.Target, code)
		}
	}
	if got := DefaultTables().TargetsFor(sc); !slices.Equal(got, []string{broker.KindEmbedded, broker.KindChild}) {
		t.Errorf("targets %v", got)
	}
	of := func(params string) *scenarios.Plan {
		sc := scenario(t, onLinks, "# storm", storm("{rst: {who: {list: [0, 1, 2]}"+params+"}}"))
		plan, err := NewPlan(sc, PlanOptions{Tables: DefaultTables(), Target: "mosquitto"})
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
	if said, unsaid := of(", by: client"), of(""); said.PlanHash != unsaid.PlanHash || said.ScenarioHash != unsaid.ScenarioHash {
		t.Errorf("the default said and unsaid: %s %s, %s %s", said.PlanHash, unsaid.PlanHash, said.ScenarioHash, unsaid.ScenarioHash)
	}
}
