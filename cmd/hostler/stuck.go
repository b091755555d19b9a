package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"hostler/reconcile/diagnosis"
	"hostler/servers/admin"
)

// stuck prints the machines that get no further, those with the same cause together.
func (env *environment) stuck(ctx context.Context, c *admin.Client, q url.Values, asJSON bool) int {
	var found []stuckMachine
	if err := c.Get(ctx, "/v1/stuck?"+q.Encode(), &found); err != nil {
		return env.serverError(err)
	}
	found = slices.DeleteFunc(found, func(m stuckMachine) bool { return m.Diagnosis == nil })
	code := exitOK
	if len(found) > 0 {
		code = exitNo
	}
	switch {
	case asJSON:
		env.json(found)
	case len(found) == 0:
		fmt.Fprintln(env.stdout, "No machine is stuck.")
	default:
		env.printStuck(found)
	}
	return code
}

// printStuck prints one paragraph for each cause and stage, the one with the most machines first.
func (env *environment) printStuck(found []stuckMachine) {
	type cause struct{ rule, stage, subnet string }
	groups := map[cause][]stuckMachine{}
	for _, m := range found {
		k := cause{rule: m.Diagnosis.Rule, stage: m.Diagnosis.Stage.String()}
		if m.Boot == nil {
			k.subnet = m.Subnet
		}
		groups[k] = append(groups[k], m)
	}
	var order []cause
	for k := range groups {
		order = append(order, k)
	}
	slices.SortFunc(order, func(a, b cause) int {
		return cmp.Or(cmp.Compare(len(groups[b]), len(groups[a])), cmp.Compare(a.rule, b.rule), cmp.Compare(a.stage, b.stage), cmp.Compare(a.subnet, b.subnet))
	})
	for i, k := range order {
		if i > 0 {
			fmt.Fprintln(env.stdout)
		}
		group := groups[k]
		slices.SortStableFunc(group, func(a, b stuckMachine) int { return a.Diagnosis.Since.Compare(b.Diagnosis.Since) })
		fmt.Fprintln(env.stdout, env.groupTitle(group))
		env.printDiagnosis(group[0].Diagnosis)
	}
}

// namesShown is how many machines of a group are named.
const namesShown = 8

func (env *environment) groupTitle(group []stuckMachine) string {
	first := group[0]
	if first.Boot == nil {
		return "Subnet " + first.Subnet
	}
	var names []string
	for _, m := range group {
		if len(names) == namesShown {
			names = append(names, fmt.Sprintf("and %d more", len(group)-namesShown))
			break
		}
		names = append(names, bootName(m.Boot))
	}
	since := fmt.Sprintf("stuck at %s since %s, %s ago", first.Diagnosis.Stage, first.Diagnosis.Since.UTC().Format("2 Jan 15:04:05 MST"), ago(env.now().Sub(first.Diagnosis.Since)))
	if len(group) == 1 {
		return names[0] + ": " + since
	}
	return plural(len(group), "machine") + " " + since + " at the earliest: " + strings.Join(names, ", ")
}

// printDiagnosis prints cause, evidence and advice under each other.
func (env *environment) printDiagnosis(d *diagnosis.Diagnosis) {
	for _, row := range []struct{ name, text string }{
		{"Cause", d.Cause + " [" + d.Rule + "]"}, {"Shown by", d.Evidence}, {"Do", d.Advice},
	} {
		if row.text == "" {
			continue
		}
		for i, line := range wrap(clean(row.text), env.width-12) {
			if i > 0 {
				row.name = ""
			}
			fmt.Fprintf(env.stdout, "  %-8s  %s\n", row.name, line)
		}
	}
}
