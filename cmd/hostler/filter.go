package main

import (
	"flag"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// filter says which machines of a room of a hundred thousand somebody wants to see. The server applies it.
type filter struct {
	state, subnet *string
	states        string // that there are, as help shows them
}

func filterFlags(fs *flag.FlagSet, states string) filter {
	return filter{
		state:  fs.String("state", "", "Only machines in this `state`: "+states+"."),
		subnet: fs.String("subnet", "", "Only declared machines that boot on this `subnet`."),
		states: states,
	}
}

// set writes the filter into a query about every machine.
func (f filter) set(q url.Values, machine string) error {
	if machine != "" && (*f.state != "" || *f.subnet != "") {
		return fmt.Errorf("-state and -subnet choose among machines, and %s is one already", machine)
	}
	names := strings.Split(strings.ReplaceAll(f.states, " or ", ", "), ", ")
	if *f.state != "" && !slices.Contains(names, *f.state) {
		return fmt.Errorf("-state=%s: it is %s", *f.state, f.states)
	}
	q.Set("state", *f.state)
	q.Set("subnet", *f.subnet)
	return nil
}

// fitsScreen is how many rows need no summary.
const fitsScreen = 20

// printStates sums a long list up.
func (env *environment) printStates(n int, what string, state func(int) string) {
	if n <= fitsScreen {
		return
	}
	counts := map[string]int{}
	for i := range n {
		counts[state(i)]++
	}
	var parts []string
	for name, count := range counts {
		parts = append(parts, thousands(count)+" "+name)
	}
	slices.Sort(parts)
	fmt.Fprintf(env.stdout, "\n%s: %s\n", plural(n, what), strings.Join(parts, ", "))
}
