package event

import (
	"fmt"
	"math"
	"strconv"
)

// Score is a fixed-point number in units of 1/ScoreScale. JSON shows it as a
// decimal fraction.
type Score int64

// MarshalJSON is the exact decimal fraction.
func (s Score) MarshalJSON() ([]byte, error) {
	n := uint64(s)
	var b []byte
	if s < 0 {
		b = append(b, '-')
		n = -n
	}
	b = strconv.AppendUint(b, n/ScoreScale, 10)
	if frac := n % ScoreScale; frac != 0 {
		digits := strconv.FormatUint(ScoreScale+frac, 10)[1:]
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
	if string(data) == "null" {
		return nil
	}
	f, err := strconv.ParseFloat(string(data), 64)
	if err != nil {
		return err
	}
	if math.Abs(f) >= math.MaxInt64/ScoreScale {
		return fmt.Errorf("score %s is out of range", data)
	}
	if f < 0 {
		*s = Score(f*ScoreScale - 0.5)
	} else {
		*s = Score(f*ScoreScale + 0.5)
	}
	return nil
}
