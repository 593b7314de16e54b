package event

import "strconv"

// Score is a fixed-point number in units of 1/ScoreScale. JSON shows it as a
// decimal fraction.
type Score int64

// MarshalJSON is the exact decimal fraction.
func (s Score) MarshalJSON() ([]byte, error) {
	n := int64(s)
	var b []byte
	if n < 0 {
		b = append(b, '-')
		n = -n
	}
	b = strconv.AppendInt(b, n/ScoreScale, 10)
	if frac := n % ScoreScale; frac != 0 {
		digits := strconv.FormatInt(ScoreScale+frac, 10)[1:]
		for digits[len(digits)-1] == '0' {
			digits = digits[:len(digits)-1]
		}
		b = append(b, '.')
		b = append(b, digits...)
	}
	return b, nil
}

// UnmarshalJSON rounds to the nearest unit.
func (s *Score) UnmarshalJSON(data []byte) error {
	f, err := strconv.ParseFloat(string(data), 64)
	if err != nil {
		return err
	}
	if f < 0 {
		*s = Score(f*ScoreScale - 0.5)
	} else {
		*s = Score(f*ScoreScale + 0.5)
	}
	return nil
}
