package jobspec

import (
	"fmt"
	"strings"
	"testing"
)

// A registration of a small service job, as clients that write a few fields send it.
const smallRequest = `{"Job":{"ID":"job-00001","Name":"job-00001","Type":"service","Priority":50,"Datacenters":["*"],` +
	`"Constraints":[{"LTarget":"${attr.kernel.name}","RTarget":"linux","Operand":"="}],` +
	`"TaskGroups":[{"Name":"group","Count":10,"EphemeralDisk":{"SizeMB":10},` +
	`"Networks":[{"DynamicPorts":[{"Label":"port0"}]}],` +
	`"Tasks":[{"Name":"task","Driver":"raw_exec","Config":{"args":["1000000"],"command":"/bin/sleep"},` +
	`"Resources":{"CPU":100,"MemoryMB":64},"LogConfig":{"MaxFiles":2,"MaxFileSizeMB":1}}]}]}}`

func BenchmarkParseRegisterRequest(b *testing.B) {
	body := []byte(smallRequest)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseRegisterRequest(body); err != nil {
			b.Fatal(err)
		}
	}
}

// thousandLines is a job file of 1,000 lines as people write them: groups with a network, a service and its check, a
// template, constraints, and two tasks each.
func thousandLines() []byte {
	const group = `
  group "group-%d" {
    count = 3
    constraint {
      attribute = "${attr.kernel.name}"
      value     = "linux"
    }
    network {
      port "http" {
        to = 8080
      }
    }
    service {
      name     = "service-%d"
      provider = "nomad"
      port     = "http"
      tags     = ["urlprefix-/${NOMAD_GROUP_NAME}", var.tag]
      check {
        type     = "http"
        path     = "/health"
        interval = "10s"
        timeout  = "2s"
      }
    }
    task "server" {
      driver = "docker"
      config {
        image = "registry.example.com/server:${var.tag}"
        ports = ["http"]
        args  = ["-listen", ":${NOMAD_PORT_http}"]
      }
      env {
        LEVEL = "info"
        WHERE = "${node.datacenter}"
      }
      template {
        destination = "local/config.ini"
        data        = <<EOF
[server]
name = {{ env "NOMAD_ALLOC_NAME" }}
EOF
      }
      resources {
        cpu    = 200
        memory = 128
      }
    }
  }
`
	var b strings.Builder
	b.WriteString("variable \"tag\" {\n  default = \"v1\"\n}\n\njob \"large\" {\n")
	for i := 0; strings.Count(b.String(), "\n")+strings.Count(group, "\n") < 1000; i++ {
		fmt.Fprintf(&b, group, i, i)
	}
	for strings.Count(b.String(), "\n") < 999 {
		b.WriteString("  # the end\n")
	}
	b.WriteString("}\n")
	return []byte(b.String())
}

// BenchmarkThousandLines is the time from a job file to a checked job: 20 ms are too many.
func BenchmarkThousandLines(b *testing.B) {
	body := thousandLines()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := Parse(ParseConfig{Path: "large.nomad.hcl", Body: body, Strict: true})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Validate(r.Job); err != nil {
			b.Fatal(err)
		}
	}
}

// TestThousandLinesAreRead shows that what the benchmark measures is read whole.
func TestThousandLinesAreRead(t *testing.T) {
	body := thousandLines()
	r, err := Parse(ParseConfig{Path: "large.nomad.hcl", Body: body, Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Validate(r.Job); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(body), "\n"); lines != 1000 || len(r.Job.TaskGroups) < 20 {
		t.Errorf("%d lines, %d groups", lines, len(r.Job.TaskGroups))
	}
}
