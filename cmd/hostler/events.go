package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"hostler/render/fact"
	"hostler/servers/admin"
)

// follow prints every event as it happens, of one machine or of all, until ctx or the server ends.
func (env *environment) follow(ctx context.Context, c *admin.Client, machine string) int {
	type boot struct {
		id    fact.BootID
		start time.Time
	}
	boots := map[fact.MAC]boot{}
	err := c.Follow(ctx, func() { fmt.Fprintln(env.stderr, "Following boots; Ctrl-C ends it.") }, func(e fact.Event) {
		if machine != "" && !ofMachine(e, machine) {
			return
		}
		b, seen := boots[e.MAC]
		if !seen || e.Boot != "" && e.Boot != b.id {
			b = boot{e.Boot, e.Time}
			boots[e.MAC] = b
		}
		fmt.Fprintf(env.stdout, "%s  %s\n", machineOf(e), eventLine(e, b.start))
	})
	if err != nil && ctx.Err() == nil {
		return env.serverError(err)
	}
	return exitOK
}

func ofMachine(e fact.Event, machine string) bool {
	if string(e.Node) == machine {
		return true
	}
	mac, err := fact.ParseMAC(machine)
	return err == nil && mac == e.MAC
}

func machineOf(e fact.Event) string {
	if e.Node != "" {
		return fmt.Sprintf("%-17s", e.Node)
	}
	return e.MAC.String()
}

// eventLine is one step of a boot: time since its beginning, stage, what happened, how it ended.
func eventLine(e fact.Event, start time.Time) string {
	parts := []string{fmt.Sprintf("%8s", sinceText(e.Time.Sub(start))), fmt.Sprintf("%-8s", e.Stage), e.What}
	if e.File != "" {
		parts = append(parts, e.File)
	}
	if e.Bytes > 0 {
		parts = append(parts, size(e.Bytes))
	}
	if e.Duration >= time.Millisecond {
		parts = append(parts, "in "+sinceText(e.Duration))
	}
	if e.Peer.IsValid() && e.Stage <= fact.StageAck && e.Result == fact.OK && !e.Peer.IsUnspecified() {
		parts = append(parts, e.Peer.String())
	}
	if e.Result != fact.OK {
		parts = append(parts, string(e.Result))
	}
	if e.Detail != "" {
		parts = append(parts, "("+e.Detail+")")
	}
	return strings.Join(parts, "  ")
}

func sinceText(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%dms", max(d, 0).Milliseconds())
	}
	return fmt.Sprintf("%.1fs", d.Seconds())
}
