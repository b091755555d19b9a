package main

import (
	"context"
	"errors"
	"os"

	"hostler/reconcile/ledger"
	"hostler/render/fact"
	"hostler/servers/secret"
	"hostler/spec/serverconf"
)

func secretsOf(c serverconf.Secrets) *secret.Store {
	return &secret.Store{Folder: c.Folder, EnvPrefix: c.EnvPrefix, LookupEnv: os.LookupEnv}
}

// deliveries keeps in the ledger how often the newest boot of each node was given texts with secrets.
type deliveries struct{ store ledger.Store }

const (
	deliveredPrefix = "delivered/"
	deliveredFormat = 1
)

type delivered struct {
	Boot  fact.BootID    `json:"boot"`
	Times map[string]int `json:"times"` // by template
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
		if x.Boot != boot || x.Times == nil {
			x = delivered{Boot: boot, Times: map[string]int{}}
		}
		if x.Times[template] >= most {
			return false, nil
		}
		x.Times[template]++
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
