package reconcile

import (
	"context"

	"hostler/reconcile/source"
	"hostler/spec"
)

type (
	specInput       = spec.Input
	specFleet       = spec.Fleet
	specDiagnostics = spec.Diagnostics
)

// deaf is a source whose file system gives no events.
type deaf struct{ source.Source }

func (deaf) Watch(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return nil
}
