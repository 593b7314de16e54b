package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"drover/cmd/internal/apiclient"
	"drover/eventlog/event"
)

// specBytesMax bounds a file that describes one object: what is longer than the
// servers take is not read to its end.
const specBytesMax = 64 << 10

// readSpec reads such a file; "-" is the standard input.
func (in *invocation) readSpec(path string) ([]byte, error) {
	from := in.p.Stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		from = file
	}
	body, err := io.ReadAll(io.LimitReader(from, specBytesMax+1))
	if err == nil && len(body) > specBytesMax {
		err = fmt.Errorf("%s is longer than %d bytes", path, specBytesMax)
	}
	return body, err
}

// poolFile is a node pool in HCL.
type poolFile struct {
	Pools []struct {
		Name        string      `hcl:"name,label"`
		Description string      `hcl:"description,optional"`
		Identity    string      `hcl:"node_identity_ttl,optional"`
		Meta        []metaBlock `hcl:"meta,block"`
		Scheduler   []struct {
			Algorithm      string `hcl:"scheduler_algorithm,optional"`
			Oversubscribed *bool  `hcl:"memory_oversubscription_enabled,optional"`
		} `hcl:"scheduler_config,block"`
	} `hcl:"node_pool,block"`
}

// metaBlock holds any attributes.
type metaBlock struct {
	Rest hcl.Body `hcl:",remain"`
}

// parseNodePool reads one node pool, in HCL or in the API's JSON.
func parseNodePool(path string, body []byte, asJSON bool) (*apiclient.NodePool, error) {
	if asJSON {
		pool := new(apiclient.NodePool)
		return pool, decodeSpec(path, body, pool)
	}
	var file poolFile
	if err := decodeHCL(path, body, &file); err != nil {
		return nil, err
	}
	if len(file.Pools) != 1 {
		return nil, fmt.Errorf("%s: it must hold one node_pool block, and holds %d", path, len(file.Pools))
	}
	written := &file.Pools[0]
	pool := &apiclient.NodePool{Name: written.Name, Description: written.Description, NodeIdentityTTL: written.Identity}
	if written.Identity != "" {
		if _, err := time.ParseDuration(written.Identity); err != nil {
			return nil, fmt.Errorf("%s: node_identity_ttl: %w", path, err)
		}
	}
	if len(written.Meta) > 1 || len(written.Scheduler) > 1 {
		return nil, fmt.Errorf("%s: there may be one meta block and one scheduler_config block", path)
	}
	for _, s := range written.Scheduler {
		pool.SchedulerConfiguration = &event.NodePoolScheduler{SchedulerAlgorithm: s.Algorithm, MemoryOversubscriptionEnabled: s.Oversubscribed}
	}
	var err error
	pool.Meta, err = metaOf(path, written.Meta)
	return pool, err
}

// namespaceFile is a namespace in HCL.
type namespaceFile struct {
	Name         string      `hcl:"name,optional"`
	Description  string      `hcl:"description,optional"`
	Quota        string      `hcl:"quota,optional"`
	Meta         []metaBlock `hcl:"meta,block"`
	Capabilities []struct {
		Enabled       []string `hcl:"enabled_task_drivers,optional"`
		Disabled      []string `hcl:"disabled_task_drivers,optional"`
		EnabledModes  []string `hcl:"enabled_network_modes,optional"`
		DisabledModes []string `hcl:"disabled_network_modes,optional"`
	} `hcl:"capabilities,block"`
	Pools []struct {
		Default string   `hcl:"default,optional"`
		Allowed []string `hcl:"allowed,optional"`
		Denied  []string `hcl:"denied,optional"`
	} `hcl:"node_pool_config,block"`
}

// parseNamespace reads one namespace, in HCL or in the API's JSON.
func parseNamespace(path string, body []byte, asJSON bool) (*apiclient.Namespace, error) {
	if asJSON {
		namespace := new(apiclient.Namespace)
		return namespace, decodeSpec(path, body, namespace)
	}
	var file namespaceFile
	if err := decodeHCL(path, body, &file); err != nil {
		return nil, err
	}
	if len(file.Meta) > 1 || len(file.Capabilities) > 1 || len(file.Pools) > 1 {
		return nil, fmt.Errorf("%s: there may be one meta, one capabilities and one node_pool_config block", path)
	}
	namespace := &apiclient.Namespace{Name: file.Name, Description: file.Description, Quota: file.Quota}
	for _, c := range file.Capabilities {
		namespace.Capabilities = &event.NamespaceCapabilities{
			EnabledTaskDrivers: c.Enabled, DisabledTaskDrivers: c.Disabled, EnabledNetworkModes: c.EnabledModes, DisabledNetworkModes: c.DisabledModes,
		}
	}
	for _, p := range file.Pools {
		namespace.NodePoolConfiguration = &event.NamespaceNodePools{Default: p.Default, Allowed: p.Allowed, Denied: p.Denied}
	}
	var err error
	namespace.Meta, err = metaOf(path, file.Meta)
	return namespace, err
}

func decodeSpec(path string, body []byte, into any) error {
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: there is more than one object", path)
	}
	return nil
}

func decodeHCL(path string, body []byte, into any) error {
	file, problems := hclparse.NewParser().ParseHCL(body, path)
	if problems.HasErrors() {
		return problems
	}
	if problems := gohcl.DecodeBody(file.Body, nil, into); problems.HasErrors() {
		return problems
	}
	return nil
}

func metaOf(path string, blocks []metaBlock) (map[string]string, error) {
	meta := make(map[string]string)
	for _, block := range blocks {
		attributes, problems := block.Rest.JustAttributes()
		if problems.HasErrors() {
			return nil, problems
		}
		for name, attribute := range attributes {
			value, problems := attribute.Expr.Value(nil)
			if problems.HasErrors() {
				return nil, problems
			}
			text, err := convert.Convert(value, cty.String)
			if err != nil || text.IsNull() || !text.IsKnown() {
				return nil, fmt.Errorf("%s: meta %s is no text", path, name)
			}
			meta[name] = text.AsString()
		}
	}
	if len(meta) == 0 {
		return nil, nil
	}
	return meta, nil
}
