package e2e_test

import (
	"bytes"
	"compress/gzip"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/nomad/api"
)

// tap keeps what a client of the field was last answered, as it came.
type tap struct {
	mu   sync.Mutex
	path string
	body []byte
}

func (p *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	sent, err := io.ReadAll(resp.Body)
	if err := resp.Body.Close(); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(sent))
	plain := sent
	if resp.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(sent))
		if err != nil {
			return nil, err
		}
		if plain, err = io.ReadAll(z); err != nil {
			return nil, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.path, p.body = r.Method+" "+r.URL.Path, plain
	return resp, nil
}

func (p *tap) last() (path string, body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.path, p.body
}

// tapped is the official client with a tap on its line.
func tapped(t *testing.T, a *agent) (*api.Client, *tap) {
	t.Helper()
	p := new(tap)
	c, err := api.NewClient(&api.Config{Address: a.url(), HttpClient: &http.Client{Transport: p}})
	if err != nil {
		t.Fatal(err)
	}
	return c, p
}

// beyond are fields that the reference sends and its client does not read.
var beyond = map[string]string{
	"JobListStub": "NodePool Multiregion", "JobSubmission": "Namespace JobID Version JobModifyIndex",
	"Allocation": "AllocStates SharedResources", "AllocationListStub": "DesiredTransition",
	"AllocatedResources": "TaskLifecycles", "AllocatedCpuResources": "ReservedCores", "TaskState": "Paused",
	"Node":         "SecretID ComputedClass LastAllocUpdateIndex LastMissedHeartbeatIndex",
	"NodeListStub": "HostVolumes", "NodeResources": "NodeNetworks", "NodeReservedCpuResources": "ReservedCpuCores",
	"HostStats": "Timestamp", "HostCPUStats": "Total TotalPercent TotalTicks", "MemoryStats": "MappedFile",
	"SchedulerSetConfigurationResponse": "Warnings",                                     // Drover's own: what of it nothing acts on
	"HostDataResponse":                  "OS Network ResolvConf Hosts Environment Disk", // what an agent says that is asked itself
	"SampledValue":                      "Count Rate Sum Min Max",
}

// unsent are fields that the client knows and that are not sent: the reference
// leaves them out when they are empty ("*": all of them), or has no such thing.
var unsent = map[string]string{
	"NetworkResource": "*", "Port": "*", "PortMapping": "*", "Evaluation": "*",
	"Allocation": "Services", "AllocationListStub": "AllocatedResources", "AllocFileInfo": "ContentType", "Task": "CSIPluginConfig",
	"TaskEvent":           "DiskLimit DiskSize GenericSource VaultError",
	"Node":                "GCVolumesOnNodeGC",
	"OperatorHealthReply": "OptimisticFailureTolerance ReadReplicas RedundancyZones Upgrade",
	"SampledValue":        "AggregateSample",
	"Namespace":           "OptionalExtraClaims RequiredExtraClaims",
}

// aboutAnswer are fields that the reference writes into the answers to commands;
// its client takes them from the headers.
var aboutAnswer = []string{"Index", "LastContact", "KnownLeader", "NextToken"}

func listed(in map[string]string, typ, field string) bool {
	fields := strings.Fields(in[typ])
	return slices.Contains(fields, field) || slices.Contains(fields, "*")
}

// exactly checks that the last answer is what the client takes it for: no field
// that it does not know, and none missing that it does.
func exactly(t *testing.T, p *tap, decoded any) {
	t.Helper()
	path, body := p.last()
	var raw any
	if err := json.Unmarshal(body, &raw); err != nil {
		t.Errorf("%s: %v in %q", path, err, body)
		return
	}
	found := map[string]bool{}
	compareShape(reflect.TypeOf(decoded), raw, func(format string, args ...any) { found[fmt.Sprintf(format, args...)] = true })
	for _, line := range slices.Sorted(maps.Keys(found)) {
		t.Errorf("%s: %s", path, line)
	}
}

var unmarshalers = []reflect.Type{reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()}

// compareShape says where a JSON value and the Go type that it is decoded into
// do not have the same fields.
func compareShape(typ reflect.Type, raw any, say func(format string, args ...any)) {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if raw == nil {
		return
	}
	for _, u := range unmarshalers {
		if typ.Name() != "" && reflect.PointerTo(typ).Implements(u) && typ.Kind() != reflect.Struct {
			return
		}
	}
	switch typ.Kind() {
	case reflect.Struct:
		object, ok := raw.(map[string]any)
		if !ok {
			return // a text form of its own, such as a time
		}
		fields := map[string]reflect.StructField{}
		fieldsOf(typ, fields)
		for key, value := range object {
			f, known := fields[key]
			if !known {
				if listed(beyond, typ.Name(), key) || slices.Contains(aboutAnswer, key) {
					continue
				}
				say("%s has no field %s", typ.Name(), key)
				continue
			}
			compareShape(f.Type, value, say)
		}
		for key := range fields {
			if _, sent := object[key]; !sent && !listed(unsent, typ.Name(), key) {
				say("%s.%s is not sent", typ.Name(), key)
			}
		}
	case reflect.Slice, reflect.Array:
		list, _ := raw.([]any)
		for _, item := range list {
			compareShape(typ.Elem(), item, say)
		}
	case reflect.Map:
		object, _ := raw.(map[string]any)
		for _, value := range object {
			compareShape(typ.Elem(), value, say)
		}
	}
}

// fieldsOf lists the fields of a struct by their names in JSON, those of embedded
// ones too.
func fieldsOf(typ reflect.Type, into map[string]reflect.StructField) {
	for f := range typ.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Type == reflect.TypeFor[api.QueryMeta](), f.Type == reflect.TypeFor[api.WriteMeta]():
			// filled from the headers
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			fieldsOf(f.Type, into)
		case !f.IsExported(), name == "-":
		case name == "":
			into[f.Name] = f
		default:
			into[name] = f
		}
	}
}
