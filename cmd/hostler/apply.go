package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"strings"

	"hostler/reconcile"
	"hostler/render/fact"
	"hostler/servers/admin"
)

func applyCommand() command {
	return command{
		name: "apply", synopsis: "Promote a revision that the server has observed",
		long: "Asks the running server what the newest revision that it has observed (or -revision) would change, shows that, asks whether to go on,\n" +
			"and has the server serve it. This is how a change goes live with sync = \"manual\"; with sync = \"auto\" the server does it by itself.\n" +
			"It is refused (exit code 3) when the plan is no longer the one that was shown.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			socket := socketFlag(fs)
			revision := fs.String("revision", "", "The `revision` to promote, as `hostler status` prints it.")
			expect := fs.String("expect", "", "Refuse unless the plan has this `digest`.")
			approve := fs.Bool("auto-approve", false, "Do not ask.")
			return func(ctx context.Context, env *environment, args []string) int {
				if len(args) > 0 {
					return env.fail("apply: no argument expected, not %q: the server knows its source", args)
				}
				c := admin.NewClient(socketPath(*socket))
				request := admin.ApplyRequest{Revision: fact.Revision(*revision), Plan: true}
				plan := &reconcile.Plan{}
				if err := c.Post(ctx, "/v1/apply", request, plan); err != nil {
					return env.serverError(err)
				}
				return env.applyPlan(ctx, c, plan, *expect, *approve)
			}
		},
	}
}

func (env *environment) applyPlan(ctx context.Context, c *admin.Client, plan *reconcile.Plan, expect string, approve bool) int {
	base := plan.Base.Short()
	if base == "" {
		base = "nothing"
	}
	p := planPrinter{env: env, plan: plan}
	p.print(plan.Revision.Short(), base+", served on "+c.Path())
	if expect != "" && !strings.HasPrefix(string(plan.Digest), expect) {
		fmt.Fprintf(env.stderr, "hostler: refused: the plan's digest is %.8s, not %s: look at it again\n", plan.Digest, expect)
		return exitNo
	}
	if plan.Base == plan.Revision {
		fmt.Fprintln(env.stdout, "It is served already.")
		return exitOK
	}
	if !approve {
		ok, err := env.ask("\nServe it? Only yes goes on: ")
		if err != nil {
			return env.fail("apply: %v", err)
		}
		if !ok {
			fmt.Fprintln(env.stdout, "Not applied.")
			return exitNo
		}
	}
	request := admin.ApplyRequest{Revision: plan.Revision, Expect: plan.Digest}
	if err := c.Post(ctx, "/v1/apply", request, nil); err != nil {
		return env.serverError(err)
	}
	fmt.Fprintf(env.stdout, "Applied: %s is served.\n", plan.Revision.Short())
	return exitOK
}

// ask puts a question to the person at the terminal.
func (env *environment) ask(question string) (bool, error) {
	if !env.terminal {
		return false, fmt.Errorf("there is no terminal to ask on: use -auto-approve")
	}
	fmt.Fprint(env.stdout, question)
	line, err := bufio.NewReader(env.stdin).ReadString('\n')
	return err == nil && strings.TrimSpace(line) == "yes", nil
}
