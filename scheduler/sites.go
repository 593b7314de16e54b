package scheduler

import "drover/projections"

// site is a node that the job is on, or that this decision changes.
type site struct {
	room     projections.Room
	tie      uint64 // its place among nodes of the same score
	slot     int32
	planNode int32 // position in the plan's list of nodes, -1 when nothing is placed here
	live     int32 // live allocations of the job, planned ones included and stopped ones not
	group    int32 // those of the group in hand
	bucket   int32 // where it is ranked, -1 when it is not
	key      int64 // what it is ranked by there
}

// sites are found by the slot of their node. A pointer to one stays good until
// clear.
type sites struct {
	of    []int32 // by slot: number + 1, 0 for none
	pages [][]site
	count int
}

const sitesPerPage = 256

func (s *sites) at(slot int32) *site {
	number := s.of[slot]
	if number == 0 {
		return nil
	}
	return s.numbered(number - 1)
}

func (s *sites) numbered(number int32) *site {
	return &s.pages[number/sitesPerPage][number%sitesPerPage]
}

// touch is at, and makes the site when there is none.
func (s *sites) touch(slot int32, f *fleet) *site {
	if known := s.at(slot); known != nil {
		return known
	}
	if s.count == len(s.pages)*sitesPerPage {
		s.pages = append(s.pages, make([]site, sitesPerPage))
	}
	made := s.numbered(int32(s.count))
	s.count++
	s.of[slot] = int32(s.count)
	row := f.rows.Row(int(slot))
	*made = site{room: projections.RoomOn(row.Node), tie: f.tie(&row), slot: slot, planNode: -1, bucket: -1}
	return made
}

// unrank takes all sites out of the ranking.
func (s *sites) unrank() {
	for number := range int32(s.count) {
		s.numbered(number).bucket = -1
	}
}

// clear forgets all sites, and makes room for a fleet of so many slots.
func (s *sites) clear(slots int) {
	for number := range int32(s.count) {
		made := s.numbered(number)
		if int(made.slot) < len(s.of) {
			s.of[made.slot] = 0
		}
		*made = site{}
	}
	s.count = 0
	if slots > len(s.of) {
		s.of = append(s.of, make([]int32, slots-len(s.of))...)
	}
}
