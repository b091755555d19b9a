package reconcile

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// tableText is a spec of one node block for every row of a table; arg becomes a kernel argument of all.
func tableText(arg, files string) string {
	text, _, _ := strings.Cut(specText(arg, files), "pool \"reserved\"")
	text = strings.Replace(text, "10.77.0.0/24", "10.0.0.0/8", 1)
	text = strings.Replace(text, "10.77.0.254", "10.255.255.254", 1)
	return text + fmt.Sprintf(`
}
group "all" {
  image       = image.busybox
  kernel_args = { mark = %q }
}
node "n" {
  for_each = { for r in tabledecode("nodes.csv") : r.name => r }
  name     = each.key
  subnet   = subnet.lab
  mac      = each.value.mac
  address  = each.value.address
  groups   = [group.all]
}
`, arg)
}

func table(n int) string {
	var b strings.Builder
	b.WriteString("name,mac,address\n")
	for i := range n {
		fmt.Fprintf(&b, "n%05d,52:54:00:%02x:%02x:%02x,10.%d.%d.%d\n", i, i>>16, i>>8&255, i&255, 1+i>>16, i>>8&255, i&255)
	}
	return b.String()
}

// The time from a commit of one changed kernel argument, which changes every machine, until it is served.
func BenchmarkCommitToWire(b *testing.B) {
	for _, n := range []int{10, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g := newRig(b, "git", nil)
			g.save("nodes.csv", table(n), "table")
			g.save("spec.boot.hcl", tableText("zero", g.files), "start")
			g.start()
			g.await()
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				writeFile(b, g.dir+"/spec.boot.hcl", tableText(fmt.Sprint("v", i), g.files))
				b.StartTimer()
				start := time.Now()
				g.commit(fmt.Sprint("v", i))
				g.await()
				b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/last")
			}
			for _, st := range g.r.Status().Stages {
				b.ReportMetric(float64(st.Took.Milliseconds()), st.Stage+"-ms")
			}
		})
	}
}
