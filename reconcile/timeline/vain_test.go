package timeline

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/render/fact"
)

// TestInVain holds which boots count towards a loop: those in a row that were given something to boot and were not ready, as of the
// machine's own address. DISCOVERs in its name, a script that tells it to wait, and boots that somebody played do not; and a restart
// forgets none.
func TestInVain(t *testing.T) {
	clock := &hand{t: epoch}
	dir := t.TempDir()
	var vain []time.Time
	start := func() *Timeline {
		tl := open(t, dir, noMarks{}, clock.now)
		tl.OnProgress(func(p Progress) {
			if p.Outcome == Ended {
				vain = p.InVain
			}
		})
		return tl
	}
	tl := start()
	xid := uint32(0)
	discover := func() {
		tl.flush() // a minute passes: everything is on the disk
		clock.set(clock.now().Add(time.Minute))
		xid++
		tl.Record(fact.Event{Time: clock.now(), MAC: mac1, Node: "n1", Stage: fact.StageDiscover, Client: fact.ClientROM, Xid: xid, Result: fact.OK})
	}
	boot := func(boots bool) (fact.BootID, fact.Token) {
		t.Helper()
		discover()
		id, token, err := tl.Script(mac1, "n1", addr1, fact.Terms{Revision: "r1", Boots: boots})
		if err != nil {
			t.Fatal(err)
		}
		return id, token
	}
	expect := func(when string, minutes ...int) {
		t.Helper()
		var want []time.Time
		for _, m := range minutes {
			want = append(want, epoch.Add(time.Duration(m)*time.Minute))
		}
		if diff := cmp.Diff(want, vain); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	boot(true)  // minute 1
	boot(true)  // 2
	boot(false) // 3
	discover()  // 4
	discover()  // 5
	expect("after two boots, a hold and a spoofed packet", 1, 2)
	tl.Play(mac1, "n1")
	boot(true) // 6, as the player has it
	boot(true) // 7
	tl.Close()
	tl = start()
	discover() // 8
	expect("after a restart", 1, 2, 7)
	id, token := boot(true) // 9
	if _, err := tl.Ready(id, token, addr1); err != nil {
		t.Fatal(err)
	}
	boot(true) // 10
	discover() // 11
	expect("after it was ready", 10)
}
