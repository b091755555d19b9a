package examples

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The version whose schema the manifest is checked against: its API description is part of the module.
const (
	kubernetesModule = "k8s.io/kubernetes@v1.34.0"
	kubeconform      = "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0"
)

// TestKubernetesManifest holds the manifest against Kubernetes' own schema, where a field that it does not know is a mistake.
func TestKubernetesManifest(t *testing.T) {
	schemas := kubernetesSchemas(t, map[string]string{
		"Namespace":             "io.k8s.api.core.v1.Namespace",
		"ConfigMap":             "io.k8s.api.core.v1.ConfigMap",
		"PersistentVolumeClaim": "io.k8s.api.core.v1.PersistentVolumeClaim",
		"Deployment":            "io.k8s.api.apps.v1.Deployment",
	})
	manifest := readFile(t, "kubernetes/hostler.yaml")
	check := func(text string) (string, error) {
		cmd := exec.Command("go", "run", kubeconform, "-strict", "-summary", "-schema-location", filepath.Join(schemas, "{{.ResourceKind}}.json"))
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := check(manifest); err != nil || !strings.Contains(out, "Valid: 4, Invalid: 0, Errors: 0, Skipped: 0") {
		t.Errorf("kubeconform: %v\n%s", err, out)
	}
	wrong := strings.Replace(manifest, "hostNetwork:", "hostNetworks:", 1)
	if out, err := check(wrong); err == nil || !strings.Contains(out, "hostNetworks") {
		t.Errorf("a field that Kubernetes does not have was accepted: %v\n%s", err, out)
	}
}

// kubernetesSchemas writes a JSON schema for each kind, and gives their folder. The API's description says of no object that it has
// no other fields, and calls a number or a text a text: both are put right, as those who publish such schemas do.
func kubernetesSchemas(t *testing.T, kinds map[string]string) string {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", kubernetesModule).Output()
	if err != nil {
		t.Fatalf("go mod download: %v\n%s", err, out)
	}
	var module struct{ Dir string }
	must(t, json.Unmarshal(out, &module))
	var api struct {
		Definitions map[string]map[string]any `json:"definitions"`
	}
	must(t, json.Unmarshal([]byte(readFile(t, filepath.Join(module.Dir, "api/openapi-spec/swagger.json"))), &api))
	for _, d := range api.Definitions {
		if d["format"] == "int-or-string" {
			d["type"] = []string{"string", "integer"}
		}
		if _, open := d["additionalProperties"]; !open && d["properties"] != nil {
			d["additionalProperties"] = false
		}
	}
	dir := t.TempDir()
	for kind, name := range kinds {
		text, err := json.Marshal(map[string]any{"$ref": "#/definitions/" + name, "definitions": api.Definitions})
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, strings.ToLower(kind)+".json"), text, 0o644))
	}
	return dir
}
