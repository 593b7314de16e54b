package event

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// ID is a 128-bit identifier, shown as a UUID. The zero ID means "none" and is
// shown as the empty string.
type ID [16]byte

// ParseID reads the 36-character UUID form. The empty string is the zero ID.
func ParseID(s string) (ID, error) {
	var id ID
	if s == "" {
		return id, nil
	}
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, fmt.Errorf("identifier %q is not a UUID", s)
	}
	var compact [32]byte
	n := 0
	for i := 0; i < len(s); i++ {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			continue
		}
		compact[n] = s[i]
		n++
	}
	if _, err := hex.Decode(id[:], compact[:]); err != nil {
		return ID{}, fmt.Errorf("identifier %q is not a UUID", s)
	}
	return id, nil
}

// MustParseID is ParseID for constants in tests and fixtures; it panics on a
// malformed identifier.
func MustParseID(s string) ID {
	id, err := ParseID(s)
	if err != nil {
		panic(err)
	}
	return id
}

// DeriveID computes the identifier that (space, parts...) stand for. The same
// input gives the same ID on every server and in every replay, which is why
// allocation IDs are derived and not drawn. The version and variant bits are
// those of a UUIDv8 (RFC 9562, section 5.8).
func DeriveID(space string, parent ID, numbers ...uint64) ID {
	h := sha256.New()
	h.Write([]byte(space))
	h.Write([]byte{0})
	h.Write(parent[:])
	var buf [8]byte
	for _, n := range numbers {
		binary.BigEndian.PutUint64(buf[:], n)
		h.Write(buf[:])
	}
	return idOfHash(Hash(h.Sum(nil)))
}

func idOfHash(h Hash) (id ID) {
	copy(id[:], h[:])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// AllocationID is the identifier of the ordinal-th placement that evaluation
// eval makes on the snapshot at index basis.
func AllocationID(eval ID, basis uint64, ordinal uint32) ID {
	// DeriveID("allocation", eval, basis, ordinal), in one block of the hash: it
	// is computed several times for each placement.
	const space = "allocation\x00"
	var input [len(space) + len(eval) + 16]byte
	n := copy(input[:], space)
	n += copy(input[n:], eval[:])
	binary.BigEndian.PutUint64(input[n:], basis)
	binary.BigEndian.PutUint64(input[n+8:], uint64(ordinal))
	return idOfHash(sha256.Sum256(input[:]))
}

// IsZero reports whether the ID means "none".
func (id ID) IsZero() bool { return id == ID{} }

// String is the UUID form, or "" for the zero ID.
func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	var b [36]byte
	id.encode(&b)
	return string(b[:])
}

// Short is the first 8 hexadecimal digits, the form that people read and type.
func (id ID) Short() string {
	if id.IsZero() {
		return ""
	}
	return hex.EncodeToString(id[:4])
}

// Compare orders IDs by their bytes, which is also the order of their text.
func (id ID) Compare(other ID) int {
	for i := range id {
		if id[i] != other[i] {
			if id[i] < other[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

func (id ID) encode(b *[36]byte) {
	hex.Encode(b[0:8], id[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], id[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], id[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], id[8:10])
	b[23] = '-'
	hex.Encode(b[24:36], id[10:16])
}

// MarshalText is the UUID form; JSON uses it.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// MarshalBinary is the 16 bytes, or none for the zero ID; CBOR uses it.
func (id ID) MarshalBinary() ([]byte, error) {
	if id.IsZero() {
		return nil, nil
	}
	return id[:], nil
}

// UnmarshalBinary is the inverse of MarshalBinary.
func (id *ID) UnmarshalBinary(data []byte) error {
	switch len(data) {
	case 0:
		*id = ID{}
		return nil
	case len(id):
		copy(id[:], data)
		return nil
	}
	return fmt.Errorf("an ID has 16 bytes, not %d", len(data))
}

// Hash is a SHA-256 digest: of a blob, or of the chain up to a record.
type Hash [sha256.Size]byte

// HashOf is the SHA-256 of data.
func HashOf(data []byte) Hash { return sha256.Sum256(data) }

// IsZero reports whether the hash means "none".
func (h Hash) IsZero() bool { return h == Hash{} }

// String is the lower-case hexadecimal form, or "" for the zero hash.
func (h Hash) String() string {
	if h.IsZero() {
		return ""
	}
	return hex.EncodeToString(h[:])
}

// MarshalText is the hexadecimal form; JSON uses it.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*h = Hash{}
		return nil
	}
	if hex.DecodedLen(len(text)) != len(h) {
		return fmt.Errorf("a hash has %d hexadecimal digits, not %d", 2*len(h), len(text))
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// MarshalBinary is the 32 bytes, or none for the zero hash; CBOR uses it.
func (h Hash) MarshalBinary() ([]byte, error) {
	if h.IsZero() {
		return nil, nil
	}
	return h[:], nil
}

// UnmarshalBinary is the inverse of MarshalBinary.
func (h *Hash) UnmarshalBinary(data []byte) error {
	switch len(data) {
	case 0:
		*h = Hash{}
		return nil
	case len(h):
		copy(h[:], data)
		return nil
	}
	return fmt.Errorf("a hash has %d bytes, not %d", len(h), len(data))
}

// JobKey names a job: every reference to a job carries its namespace.
type JobKey struct {
	Namespace string `cbor:"1,keyasint,omitempty"`
	ID        string `cbor:"2,keyasint,omitempty"`
}

// String is "namespace/id", or the id alone in the default namespace.
func (k JobKey) String() string {
	if k.Namespace == "" || k.Namespace == DefaultNamespace {
		return k.ID
	}
	return k.Namespace + "/" + k.ID
}

// Compare orders keys by namespace, then ID.
func (k JobKey) Compare(other JobKey) int {
	switch {
	case k.Namespace < other.Namespace:
		return -1
	case k.Namespace > other.Namespace:
		return 1
	case k.ID < other.ID:
		return -1
	case k.ID > other.ID:
		return 1
	}
	return 0
}

// DefaultNamespace is the namespace of jobs that name none.
const DefaultNamespace = "default"
