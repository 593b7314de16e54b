package event

import "testing"

func TestHostNetworks(t *testing.T) {
	n := &Node{
		Meta: map[string]string{"rack": "7"}, Attributes: map[string]string{"kernel.name": "linux"},
		NodeResources: &NodeResources{
			Networks: []NetworkResource{{IP: "10.0.0.1"}},
			NodeNetworks: []NodeNetwork{
				{Device: "eth0", Addresses: []NodeNetworkAddress{{Alias: "rack-7", Address: "192.0.2.1"}}},
				{Device: "eth1", Addresses: []NodeNetworkAddress{{Alias: "default", Address: "10.0.0.1"}, {Alias: "rack-7", Address: "10.0.0.1"}}},
			},
		},
	}
	for _, c := range []struct{ asked, name, address string }{
		{"", "", "10.0.0.1"}, {"default", "default", "10.0.0.1"}, {"rack-7", "rack-7", "192.0.2.1"}, {"rack-${meta.rack}", "rack-7", "192.0.2.1"},
		{"${attr.kernel.name}-${meta.none}${x", "linux-${meta.none}${x", ""}, {"public", "public", ""},
	} {
		if name, address := n.HostNetworkOn(c.asked), n.HostAddress(c.asked); name != c.name || address != c.address {
			t.Errorf("%q is %q at %q, want %q at %q", c.asked, name, address, c.name, c.address)
		}
	}
	n.NodeResources.NodeNetworks = nil // as nodes of old say it
	if address := n.HostAddress("default"); address != "10.0.0.1" {
		t.Errorf("default is at %q", address)
	}
	if address := new(Node).HostAddress(""); address != "" {
		t.Errorf("a node without resources is at %q", address)
	}
}
