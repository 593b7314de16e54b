package agent

import (
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/host"

	"drover/projections/rest"
)

// hostAnswer is what /v1/agent/host answers. Clients read the data from below
// HostData, or beside AgentID.
type hostAnswer struct {
	AgentID  string
	HostData *hostData
	*hostData
}

// hostData describes the machine of an agent, for whoever looks for a fault.
type hostData struct {
	OS          string
	Network     []map[string]string
	ResolvConf  string
	Hosts       string
	Environment map[string]string // of the agent; secrets are hidden
	Disk        map[string]diskUsage
}

type diskUsage struct {
	DiskMB int64
	UsedMB int64
}

// describeHost answers /v1/agent/host. What it tells helps whoever attacks the
// machine too, so it is only for those who switched it on.
func describeHost(enabled bool, agentID func() string) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if !enabled {
			return rest.Errorf(http.StatusForbidden, "Permission denied: set enable_debug = true in the agent's configuration")
		}
		data, err := readHost(os.Environ())
		if err != nil {
			return err
		}
		return rest.JSON(w, r, hostAnswer{agentID(), data, data})
	}
}

func readHost(environ []string) (*hostData, error) {
	info, err := host.Info()
	if err != nil {
		return nil, err
	}
	data := &hostData{
		OS:      strings.Join([]string{info.OS, info.Platform, info.PlatformVersion, info.KernelVersion, info.KernelArch}, " "),
		Network: []map[string]string{}, Environment: make(map[string]string), Disk: make(map[string]diskUsage),
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		if err != nil {
			continue // it is gone meanwhile
		}
		var texts []string
		for _, a := range addresses {
			texts = append(texts, a.String())
		}
		data.Network = append(data.Network, map[string]string{
			"name": i.Name, "flags": i.Flags.String(), "hardware": i.HardwareAddr.String(), "addresses": strings.Join(texts, ","),
		})
	}
	for path, text := range map[string]*string{"/etc/resolv.conf": &data.ResolvConf, "/etc/hosts": &data.Hosts} {
		if content, err := os.ReadFile(path); err == nil { // a machine can do without
			*text = string(content)
		}
	}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if secretName(name) {
			value = "<redacted>"
		}
		data.Environment[name] = value
	}
	partitions, err := disk.Partitions(false)
	if err != nil {
		return nil, err
	}
	for _, p := range partitions {
		if usage, err := disk.Usage(p.Mountpoint); err == nil { // some cannot be asked
			data.Disk[p.Device] = diskUsage{DiskMB: int64(usage.Total >> 20), UsedMB: int64(usage.Used >> 20)}
		}
	}
	return data, nil
}

// secretName reports whether a variable of that name may hold a secret.
func secretName(name string) bool {
	name = strings.ToUpper(name)
	for _, word := range []string{"TOKEN", "SECRET", "PASS", "CREDENTIAL", "KEY", "AUTH", "LICENSE"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
