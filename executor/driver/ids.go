package driver

import (
	"fmt"
	"strconv"
	"strings"
)

// IDRanges are numbers of users or groups.
type IDRanges []struct{ first, last uint32 }

// ParseIDRanges reads a list such as "0,10-20,65534".
func ParseIDRanges(list string) (IDRanges, error) {
	var ranges IDRanges
	if strings.TrimSpace(list) == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(list, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			high = low
		}
		first, err := strconv.ParseUint(low, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is neither the number of a user or group nor a range of them", part)
		}
		last, err := strconv.ParseUint(high, 10, 32)
		if err != nil || last < first {
			return nil, fmt.Errorf("%q is neither the number of a user or group nor a range of them", part)
		}
		ranges = append(ranges, struct{ first, last uint32 }{uint32(first), uint32(last)})
	}
	return ranges, nil
}

// Holds reports whether one of the numbers is in the ranges, and which.
func (r IDRanges) Holds(ids ...uint32) (uint32, bool) {
	for _, id := range ids {
		for _, one := range r {
			if one.first <= id && id <= one.last {
				return id, true
			}
		}
	}
	return 0, false
}

// DeniedIDs are users and groups of the machine, by number, that no task of a driver may run as.
type DeniedIDs struct {
	UIDs, GIDs string // as ParseIDRanges reads them
}

// Check refuses a task that would run as one of them.
func (d DeniedIDs) Check(uid uint32, gids ...uint32) error {
	for _, kind := range []struct {
		name, list string
		ids        []uint32
	}{{"uid", d.UIDs, []uint32{uid}}, {"gid", d.GIDs, gids}} {
		ranges, err := ParseIDRanges(kind.list)
		if err != nil {
			return fmt.Errorf("denied_host_%ss: %w", kind.name, err)
		}
		if id, denied := ranges.Holds(kind.ids...); denied {
			return Unrecoverable{Err: fmt.Errorf("running as %s %d is not allowed on this node (denied_host_%ss of the driver's plugin block)", kind.name, id, kind.name)}
		}
	}
	return nil
}
