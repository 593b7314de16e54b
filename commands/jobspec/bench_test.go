package jobspec

import "testing"

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
