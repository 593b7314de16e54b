package driver

import (
	"strings"
	"testing"
)

func TestDeniedIDs(t *testing.T) {
	for _, c := range []struct {
		uids, gids string
		uid        uint32
		groups     []uint32
		want       string
	}{
		{"", "", 0, []uint32{0}, ""},
		{"0, 10-20", "", 0, nil, "uid 0"},
		{"0,10-20", "", 20, nil, "uid 20"},
		{"0,10-20", "", 21, []uint32{15}, ""},
		{"", "4294967295,15-15", 0, []uint32{1, 15}, "gid 15"},
		{"x", "", 1, nil, "denied_host_uids"},
		{"", "20-10", 1, nil, "denied_host_gids"},
		{"-1", "", 1, nil, "neither"},
		{"1,,2", "", 5, nil, "neither"},
		{"4294967296", "", 5, nil, "neither"},
	} {
		err := DeniedIDs{c.uids, c.gids}.Check(c.uid, c.groups...)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q %q: %d %v: %v, want %q", c.uids, c.gids, c.uid, c.groups, err, c.want)
		}
	}
}
