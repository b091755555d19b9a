package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"hostler/reconcile/diagnosis"
	"hostler/reconcile/timeline"
	"hostler/servers/admin"
)

func bootsCommand() command {
	return command{
		name: "boots", args: "[NODE|MAC]", synopsis: "Show boots as they happened, stage by stage",
		long: "Without an argument, the newest boot of every machine, one line each. With a machine, its newest boot (or its -n newest), step by step:\n" +
			"when, which stage, what was asked for, how much was sent, and how it ended; and when it got no further, why and what to do.\n" +
			"With -follow, every step of every boot as it happens.\n\n" +
			"With -stuck, each declared machine that gets no further: at which stage, since when, the likely cause and what to do, and the subnets from\n" +
			"which nothing comes at all. Machines that are held on purpose are left out. Exits with 3 when there are any.\n\n" +
			"With -packets, the conversation of the machine's newest boot, packet by packet, in the columns of `hostler boot`. The server keeps the last\n" +
			"packets of each machine in memory, 32 KiB of them, until it is stopped. Of a file the first and last blocks are there, and no contents.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			socket := socketFlag(fs)
			asJSON := fs.Bool("json", false, "Print as JSON.")
			follow := fs.Bool("follow", false, "Print steps as they happen, until interrupted.")
			stuck := fs.Bool("stuck", false, "Print the machines that get no further, why, and what to do.")
			after := fs.Duration("after", 0, "With -stuck or a machine: call it stuck after this `duration` of silence, such as 1m, instead of what its stage takes.")
			n := fs.Int("n", 1, "How `many` boots of the machine; 0: all that are kept.")
			filter := filterFlags(fs, "booting, ready, stuck, played or local")
			packets := fs.Bool("packets", false, "Print the packets of the machine's newest boots, as they were received and sent.")
			pcap := fs.String("pcap", "", "Write these packets to a capture `file` that tshark and Wireshark read.")
			return func(ctx context.Context, env *environment, args []string) int {
				machine := ""
				switch len(args) {
				case 0:
				case 1:
					machine = args[0]
				default:
					return env.fail("boots: one machine at most, not %q", args)
				}
				c := admin.NewClient(socketPath(*socket))
				if *follow {
					return env.follow(ctx, c, machine)
				}
				q := url.Values{"machine": {machine}, "n": {strconv.Itoa(*n)}}
				if *after > 0 {
					q.Set("after", after.String())
				}
				if err := filter.set(q, machine); err != nil {
					return env.fail("boots: %v", err)
				}
				if *packets || *pcap != "" {
					return env.conversation(ctx, c, q, *pcap, *asJSON)
				}
				if *stuck {
					return env.stuck(ctx, c, q, *asJSON)
				}
				return env.boots(ctx, c, q, machine, *asJSON)
			}
		},
	}
}

// shownBoot is a boot with what is to be said of it. Only a machine's newest has a diagnosis.
type shownBoot struct {
	timeline.Boot
	Diagnosis *diagnosis.Diagnosis `json:"diagnosis,omitempty"`
}

// boots prints boots, and of one machine why its newest gets no further.
func (env *environment) boots(ctx context.Context, c *admin.Client, q url.Values, machine string, asJSON bool) int {
	var boots []shownBoot
	if err := c.Get(ctx, "/v1/boots?"+q.Encode(), &boots); err != nil {
		return env.serverError(err)
	}
	var why *diagnosis.Diagnosis
	if machine != "" {
		var found []stuckMachine
		if err := c.Get(ctx, "/v1/stuck?"+q.Encode(), &found); err != nil {
			return env.serverError(err)
		}
		if len(found) > 0 {
			why = found[0].Diagnosis
		}
		if len(boots) > 0 {
			boots[0].Diagnosis = why
		}
	}
	if asJSON {
		return env.json(boots)
	}
	env.printBoots(boots, machine)
	if why != nil {
		fmt.Fprintln(env.stdout)
		env.printDiagnosis(why)
	}
	return exitOK
}

func (env *environment) printBoots(boots []shownBoot, machine string) {
	if len(boots) == 0 {
		fmt.Fprintln(env.stdout, "No boot was seen.")
		return
	}
	if machine == "" {
		var rows [][]string
		for _, b := range boots {
			rows = append(rows, []string{bootName(&b.Boot), b.Start.UTC().Format("2 Jan 15:04:05"), b.Stage.String(), string(b.Outcome),
				sinceText(b.Last.Sub(b.Start)), size(b.Bytes), strconv.Itoa(b.Retries), b.Revision.Short()})
		}
		defer env.printStates(len(boots), "machine", func(i int) string { return string(boots[i].Outcome) })
		env.table([]string{"MACHINE", "STARTED (UTC)", "STAGE", "OUTCOME", "TOOK", "SENT", "RETRIES", "REVISION"}, rows)
		return
	}
	for i := range boots {
		if i > 0 {
			fmt.Fprintln(env.stdout)
		}
		env.printBoot(&boots[i].Boot)
	}
}

func bootName(b *timeline.Boot) string {
	if b.Node != "" {
		return string(b.Node)
	}
	return b.MAC.String()
}

func (env *environment) printBoot(b *timeline.Boot) {
	fmt.Fprintf(env.stdout, "%s (%s), boot %s, %s\n", bootName(b), b.MAC, b.ID, b.Revision.Short())
	fmt.Fprintf(env.stdout, "started %s, %s since %s, reached stage %s\n\n", b.Start.UTC().Format("2 Jan 2006 15:04:05 MST"), b.Outcome,
		b.Since.UTC().Format(time.TimeOnly), b.Stage)
	for _, e := range b.Events {
		fmt.Fprintln(env.stdout, eventLine(e, b.Start))
	}
	if b.Omitted > 0 {
		fmt.Fprintf(env.stdout, "... and %s that are not kept\n", plural(b.Omitted, "later step"))
	}
}
