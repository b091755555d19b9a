package main

import (
	"encoding/json"
	"fmt"
	"io"

	"hostler/spec"
)

func printDiagnostics(w io.Writer, ds spec.Diagnostics, color bool, width int) {
	for _, d := range ds {
		fmt.Fprintln(w, d)
	}
}
func printDiagnosticsJSON(w io.Writer, ds spec.Diagnostics)  { json.NewEncoder(w).Encode(ds) }
func (env *environment) diagnosticMessage(d spec.Diagnostic) { fmt.Fprintln(env.stdout, d) }
