package kind

import (
	"strings"

	"github.com/coreos/ignition/v2/config"
	"github.com/coreos/vcontext/report"
)

// ignition checks with the code that the machine itself runs.
func ignition(_ *Checker, _, text string) []Problem {
	_, r, err := config.Parse([]byte(text))
	var ps []Problem
	for _, e := range r.Entries {
		if e.Kind != report.Error {
			continue
		}
		p := Problem{Text: strings.TrimSuffix(e.Message, ".")}
		if e.Marker.StartP != nil {
			p.Line = int(e.Marker.StartP.Line)
		}
		if e.Context.Len() > 0 {
			p.Text = strings.TrimPrefix(e.Context.String(), "$.") + ": " + p.Text
		}
		p.Text = strings.ReplaceAll(p.Text, "\n", " ")
		ps = append(ps, p)
	}
	if ps == nil && err != nil {
		ps = append(ps, Problem{Text: err.Error()})
	}
	return ps
}
