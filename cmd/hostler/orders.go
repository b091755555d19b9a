package main

import (
	"context"
	"flag"
	"fmt"

	"hostler/servers/admin"
	"hostler/spec/lang"
)

const orderNodes = "Nodes are named as in the spec, by MAC, or as a host list: c[001-128]. All of them follow the order, or, when one does not exist, none."

func holdCommand() command {
	return orderCommand(command{
		name: "hold", args: "NODE...", synopsis: "Keep machines from booting, with a reason",
		long: "The machines are told at their next boot to wait; their consoles say who they are, why they wait, since when, and how that ends.\n" +
			"A machine that runs goes on running. The hold survives restarts of the server, and ends with -for or `hostler release`.\n" +
			"A hold that everybody shall see belongs into the spec: hold = \"reason\".\n\n" + orderNodes,
	}, admin.Hold, func(fs *flag.FlagSet, r *admin.OrderRequest) {
		fs.StringVar(&r.Reason, "reason", "", "Why, for whoever finds a machine waiting: `text`. Needed.")
		fs.DurationVar(&r.For, "for", 0, "End the hold after this `time`, such as 2h.")
	})
}

func releaseCommand() command {
	return orderCommand(command{
		name: "release", args: "NODE...", synopsis: "Let machines boot that are held",
		long: "Ends holds that `hostler hold` made, and those of machines that booted in a loop. The machines that wait notice within a minute.\n" +
			"A hold of the spec is ended in the spec. (A lease is not released by this: machines do that themselves.)\n\n" + orderNodes,
	}, admin.Release, func(fs *flag.FlagSet, r *admin.OrderRequest) {
		fs.StringVar(&r.Reason, "reason", "", "Why, for the log: `text`.")
	})
}

func overrideCommand() command {
	var end *bool
	return orderCommand(command{
		name: "override", args: "NODE...", synopsis: "Have machines boot otherwise than the spec says, for a while",
		long: "At their next boot the machines boot another image of the spec, or from their disks, or not at all, until the override is over:\n" +
			"after the time of -for, after one boot with -once, or by -end. With -once it is over when the machine reports that it is ready,\n" +
			"or begins another boot; of a boot from the disk, which is not seen to end, ten seconds after the boot script, or two minutes after the address.\n" +
			"`hostler plan` says when an override hides a change, and `hostler explain NODE.boot` why a machine boots what it does.\n\n" + orderNodes,
	}, admin.Override, func(fs *flag.FlagSet, r *admin.OrderRequest) {
		fs.StringVar(&r.Boot, "boot", "", "Boot by this `mode`: netboot, disk or off.")
		fs.StringVar(&r.Image, "image", "", "Boot this `image` of the spec from the network.")
		fs.BoolVar(&r.Once, "once", false, "For one boot.")
		fs.DurationVar(&r.For, "for", 0, "End the override after this `time`, such as 1h.")
		fs.StringVar(&r.Reason, "reason", "", "Why, for others: `text`.")
		end = fs.Bool("end", false, "End the override: the machines follow the spec again.")
	}, func(r *admin.OrderRequest) {
		if *end {
			r.Do = admin.Follow
		}
	})
}

func rearmCommand() command {
	return orderCommand(command{
		name: "rearm", args: "NODE...", synopsis: "Have machines install themselves again",
		long: "Forgets what the machines have installed. With boot = \"install\" or \"install-once\" they install themselves again at their next boot,\n" +
			"which is likely to erase their disks.\n\n" + orderNodes,
	}, admin.Rearm, func(fs *flag.FlagSet, r *admin.OrderRequest) {
		fs.StringVar(&r.Reason, "reason", "", "Why, for the log: `text`.")
	})
}

// orderCommand makes the command of an order; last has the last word on the request.
func orderCommand(c command, do admin.Order, flags func(*flag.FlagSet, *admin.OrderRequest), last ...func(*admin.OrderRequest)) command {
	c.setup = func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
		socket := socketFlag(fs)
		asJSON := fs.Bool("json", false, "Print as JSON.")
		r := admin.OrderRequest{Do: do}
		flags(fs, &r)
		return func(ctx context.Context, env *environment, args []string) int {
			if len(args) == 0 {
				return env.fail("%s: name the machines", c.name)
			}
			r.Nodes = args
			for _, f := range last {
				f(&r)
			}
			if err := checkOrder(&r); err != nil {
				return env.serverError(err)
			}
			var results []admin.OrderResult
			if err := admin.NewClient(socketPath(*socket)).Post(ctx, "/v1/orders", r, &results); err != nil {
				return env.serverError(err)
			}
			if *asJSON {
				return env.json(results)
			}
			env.printOrder(r.Do, results)
			return exitOK
		}
	}
	return c
}

// printOrder says what the machines do now, those that do alike in one line.
func (env *environment) printOrder(do admin.Order, results []admin.OrderResult) {
	undone := map[admin.Order]string{admin.Release: "not held by an order", admin.Follow: "had no override"}[do]
	var texts []string
	nodes := map[string][]string{}
	for _, r := range results {
		text := "next boot: " + r.Text
		if !r.Done {
			text = undone + "; " + text
		}
		if nodes[text] == nil {
			texts = append(texts, text)
		}
		nodes[text] = append(nodes[text], r.Node)
	}
	for _, text := range texts {
		fmt.Fprintf(env.stdout, "%s: %s\n", lang.FoldHosts(nodes[text]), text)
	}
}
