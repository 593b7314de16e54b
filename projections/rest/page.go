package rest

import (
	"cmp"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"
)

// Key is an object's place in a list. Lists are ordered by number, scope, ID.
type Key struct {
	Number    uint64 // create or modify index
	Scope, ID string
}

// Compare orders keys.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Number, o.Number), cmp.Compare(k.Scope, o.Scope), cmp.Compare(k.ID, o.ID))
}

// KeyForm is how the keys of one list are written as tokens.
type KeyForm int

const (
	KeyID       KeyForm = iota // "id"
	KeyScopedID                // "namespace.id"
	KeyCreation                // "number.id"
)

// Token writes a key.
func (f KeyForm) Token(k Key) string {
	switch f {
	case KeyScopedID:
		return k.Scope + "." + k.ID
	case KeyCreation:
		return strconv.FormatUint(k.Number, 10) + "." + k.ID
	}
	return k.ID
}

// Parse reads a token.
func (f KeyForm) Parse(token string) (Key, error) {
	first, rest, two := strings.Cut(token, ".")
	switch f {
	case KeyScopedID:
		if two {
			return Key{Scope: first, ID: rest}, nil
		}
	case KeyCreation:
		if n, err := strconv.ParseUint(first, 10, 64); err == nil && two {
			return Key{Number: n, ID: rest}, nil
		}
	default:
		return Key{ID: token}, nil
	}
	return Key{}, Errorf(http.StatusBadRequest, "failed to create result paginator: %v", fmt.Errorf("malformed next_token %q", token))
}

// Page picks one page out of objects that come in the order of their keys,
// descending when q.Reverse is set: those from q.NextToken on that keep wants,
// at most q.PerPage. next is the token of the following page, or "".
func Page[T any](q *Query, form KeyForm, objects iter.Seq[T], key func(T) Key, keep func(T) (bool, error)) (page []T, next string, err error) {
	var start Key
	if q.NextToken != "" {
		if start, err = form.Parse(q.NextToken); err != nil {
			return nil, "", err
		}
	}
	for object := range objects {
		if q.NextToken != "" {
			if c := key(object).Compare(start); c < 0 && !q.Reverse || c > 0 && q.Reverse {
				continue
			}
		}
		wanted, err := keep(object)
		if err != nil {
			return nil, "", err
		}
		if !wanted {
			continue
		}
		if q.PerPage > 0 && len(page) == q.PerPage {
			return page, form.Token(key(object)), nil
		}
		page = append(page, object)
	}
	return page, "", nil
}

// ParseIDPrefix reads the beginning of a UUID: an even number of hexadecimal
// digits, dashes aside.
func ParseIDPrefix(prefix string) ([]byte, error) {
	digits := strings.ReplaceAll(prefix, "-", "")
	if len(digits)%2 != 0 {
		return nil, fmt.Errorf("input must be even length: prefix %q has %d digits", prefix, len(digits))
	}
	if len(digits) > 32 || strings.Count(prefix, "-") > 4 {
		return nil, fmt.Errorf("prefix %q is longer than an ID", prefix)
	}
	raw := make([]byte, len(digits)/2)
	for i := range raw {
		n, err := strconv.ParseUint(digits[2*i:2*i+2], 16, 8)
		if err != nil {
			return nil, fmt.Errorf("prefix %q is not hexadecimal", prefix)
		}
		raw[i] = byte(n)
	}
	return raw, nil
}
