package render

import "hostler/spec"

func (s *Snapshot) check() spec.Diagnostics { return nil }
