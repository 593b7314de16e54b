package projections

// ordinals is a list of ordinals, in ascending order, that states share: a state
// sees its own length of it, and the newest state appends behind that in place.
// Its meaning is a slice of which every state has its own copy.
//
// Only one future of a state may append in place: used, which the list shares
// with all states that see it, tells whether another one has been there first.
// Only whoever owns the newest state looks at it; readers never do.
type ordinals struct {
	list []uint64
	used *int
}

func (l *ordinals) append(at uint64) {
	if l.used != nil && *l.used == len(l.list) && len(l.list) < cap(l.list) {
		l.list = append(l.list, at)
		*l.used = len(l.list)
		return
	}
	grown := make([]uint64, len(l.list), max(4, len(l.list)+len(l.list)/2))
	copy(grown, l.list)
	l.list = append(grown, at)
	l.used = new(int)
	*l.used = len(l.list)
}

// without is the list without the ordinals for which gone holds.
func (l ordinals) without(gone func(uint64) bool) ordinals {
	var kept ordinals
	for _, at := range l.list {
		if !gone(at) {
			kept.append(at)
		}
	}
	return kept
}
