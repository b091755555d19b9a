package main

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"

	"hostler/reconcile/ledger"
	"hostler/render/fact"
	"hostler/servers/secret"
	"hostler/spec/serverconf"
)

func secretsOf(c serverconf.Secrets) *secret.Store {
	return &secret.Store{Folder: c.Folder, EnvPrefix: c.EnvPrefix, LookupEnv: os.LookupEnv}
}

// deliveries keeps in the ledger how often the newest boots of each node were given texts with secrets.
type deliveries struct{ store ledger.Store }

const (
	deliveredPrefix = "delivered/"
	deliveredFormat = 1
	mostCounted     = 8 // boots of a node: each of its interfaces can have one under way
)

type delivered struct {
	Boots map[fact.BootID]map[string]int `json:"boots"` // times by template
}

// of gives the counts of a boot. There are none for a boot that is older than all that are remembered.
func (x *delivered) of(boot fact.BootID) map[string]int {
	if x.Boots == nil {
		x.Boots = map[fact.BootID]map[string]int{}
	}
	if x.Boots[boot] == nil {
		x.Boots[boot] = map[string]int{}
	}
	if len(x.Boots) > mostCounted {
		delete(x.Boots, slices.Min(slices.Collect(maps.Keys(x.Boots)))) // their order is that of time
	}
	return x.Boots[boot]
}

// Deliver implements httpd.Deliveries.
func (d deliveries) Deliver(ctx context.Context, node fact.NodeName, boot fact.BootID, template string, most int) (bool, error) {
	key := deliveredPrefix + string(node)
	for ctx.Err() == nil { // again, when another delivery to the node came between
		var x delivered
		kv, err := d.store.Get(ctx, key)
		if err == nil {
			_, err = ledger.Unpack(kv.Value, deliveredFormat, &x)
		}
		if err != nil && !errors.Is(err, ledger.ErrNotFound) {
			return false, err
		}
		times := x.of(boot)
		if times == nil || times[template] >= most {
			return false, nil
		}
		times[template]++
		value, err := ledger.Pack(deliveredFormat, x)
		if err != nil {
			return false, err
		}
		ok, err := d.store.Txn(ctx, []ledger.Cond{{Key: key, Rev: kv.Rev}}, []ledger.Op{{Key: key, Value: value}})
		if ok || err != nil {
			return ok, err
		}
	}
	return false, ctx.Err()
}
