package cli

import (
	"strings"
	"testing"
)

// FuzzSpecFiles: whatever stands in a file, it is read or refused with its name.
func FuzzSpecFiles(f *testing.F) {
	for _, seed := range []string{
		poolHCL, poolJSON, "", "node_pool \"a\" {", `node_pool "a" { meta { a = b } }`, `node_pool "a" { node_identity_ttl = "x" }`,
		"name = \"dev\"\nmeta {\n  n = [1]\n}", "capabilities {}\ncapabilities {}", `{"Name":1}`, `{"Name":"a"}{}`, `{"Nmae":"a"}`,
	} {
		f.Add([]byte(seed), strings.HasPrefix(seed, "{"))
	}
	f.Fuzz(func(t *testing.T, body []byte, asJSON bool) {
		if pool, err := parseNodePool("pool.hcl", body, asJSON); err == nil && pool == nil || err != nil && !strings.Contains(err.Error(), "pool.hcl") {
			t.Errorf("node pool: %v, %v", pool, err)
		}
		if namespace, err := parseNamespace("ns.hcl", body, asJSON); err == nil && namespace == nil || err != nil && !strings.Contains(err.Error(), "ns.hcl") {
			t.Errorf("namespace: %v, %v", namespace, err)
		}
	})
}
