package main

import (
	"encoding/json"
	"fmt"
	"maps"

	"hostler/reconcile"
)

// message writes one line of Terraform's stream of messages.
func (env *environment) message(level, kind, text string, more map[string]any) {
	m := map[string]any{"@level": level, "@message": text, "@module": "hostler.ui", "@timestamp": env.now().UTC().Format("2006-01-02T15:04:05.000000Z"), "type": kind}
	maps.Copy(m, more)
	enc := json.NewEncoder(env.stdout)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(m) // only writing can go wrong, and there is nowhere else to say so
}

// printPlanJSON writes Terraform's line-delimited messages, with a group a message.
func (env *environment) printPlanJSON(plan *reconcile.Plan, plugins []string) int {
	message := func(kind, text string, more map[string]any) { env.message("info", kind, text, more) }
	source := map[string]any{"revision": plan.Revision, "base": plan.Base}
	if len(plugins) > 0 {
		source["dhcp_plugins"] = plugins
	}
	message("source", "plan of "+string(plan.Revision), source)
	for _, g := range plan.Groups {
		message("planned_group", fmt.Sprintf("%s %s", g.Action, g.Class), map[string]any{"group": g, "count": max(len(g.Nodes), 1)})
	}
	message("change_summary", fmt.Sprintf("Plan: %d to add, %d to change, %d to remove.", plan.Add, plan.Change, plan.Remove),
		map[string]any{"changes": map[string]any{"add": plan.Add, "change": plan.Change, "remove": plan.Remove, "operation": "plan"}, "impact": plan.Impact, "digest": plan.Digest})
	return exitOK
}
