package main

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"hostler/reconcile/ledger"
	"hostler/render/fact"
)

// TestDeliveries: a boot is given each text with secrets so many times and no more, however many ask at once, and after a restart too.
func TestDeliveries(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	open := func() (ledger.Store, deliveries) {
		store, err := ledger.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		return store, deliveries{store}
	}
	store, d := open()
	var given atomic.Int32
	var asking sync.WaitGroup
	for range 10 {
		asking.Go(func() {
			ok, err := d.Deliver(t.Context(), "n1", "BOOT1", "seed", 3)
			if err != nil {
				t.Error(err)
			}
			if ok {
				given.Add(1)
			}
		})
	}
	asking.Wait()
	if given.Load() != 3 {
		t.Errorf("it was given %d times, not 3", given.Load())
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store, d = open()
	defer store.Close()
	for _, x := range []struct {
		node, boot, template string
		most                 int
		want                 bool
	}{
		{"n1", "BOOT1", "seed", 3, false},
		{"n1", "BOOT1", "seed", 4, true}, // the spec allows more now
		{"n1", "BOOT1", "other", 1, true},
		{"n2", "BOOT9", "seed", 1, true},
		{"n1", "BOOT2", "seed", 1, true},
		{"n1", "BOOT2", "seed", 1, false},
		{"n1", "BOOT2", "none", 0, false},
		{"n1", "BOOT1", "seed", 4, false}, // the boot of another interface does not have it begin again
		{"n1", "BOOT3", "seed", 1, true},
		{"n1", "BOOT4", "seed", 1, true},
		{"n1", "BOOT5", "seed", 1, true},
		{"n1", "BOOT6", "seed", 1, true},
		{"n1", "BOOT7", "seed", 1, true},
		{"n1", "BOOT8", "seed", 1, true},
		{"n1", "BOOT9", "seed", 1, true},
		{"n1", "BOOT1", "seed", 4, false}, // nor do others that make it forgotten
		{"n1", "BOOT2", "seed", 1, false},
	} {
		ok, err := d.Deliver(t.Context(), fact.NodeName(x.node), fact.BootID(x.boot), x.template, x.most)
		if err != nil || ok != x.want {
			t.Errorf("%+v: %t, %v", x, ok, err)
		}
	}
	if all, err := store.List(t.Context(), deliveredPrefix); err != nil || len(all) != 2 {
		t.Errorf("%d records of two nodes, %v", len(all), err)
	}
}
