package jobspec

import (
	"crypto/md5"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	ctyyaml "github.com/zclconf/go-cty-yaml"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	"golang.org/x/crypto/bcrypt"
)

// baseFunctions touch nothing but their arguments (and, for bcrypt and uuidv4, chance).
var baseFunctions = map[string]function.Function{
	"abs": stdlib.AbsoluteFunc, "ceil": stdlib.CeilFunc, "chomp": stdlib.ChompFunc, "chunklist": stdlib.ChunklistFunc,
	"coalesce": stdlib.CoalesceFunc, "coalescelist": stdlib.CoalesceListFunc, "compact": stdlib.CompactFunc,
	"concat": stdlib.ConcatFunc, "contains": stdlib.ContainsFunc, "convert": typeexpr.ConvertFunc,
	"csvdecode": stdlib.CSVDecodeFunc, "distinct": stdlib.DistinctFunc, "element": stdlib.ElementFunc,
	"flatten": stdlib.FlattenFunc, "floor": stdlib.FloorFunc, "format": stdlib.FormatFunc, "formatdate": stdlib.FormatDateFunc,
	"formatlist": stdlib.FormatListFunc, "indent": stdlib.IndentFunc, "index": stdlib.IndexFunc, "join": stdlib.JoinFunc,
	"jsondecode": stdlib.JSONDecodeFunc, "jsonencode": stdlib.JSONEncodeFunc, "keys": stdlib.KeysFunc,
	"length": stdlib.LengthFunc, "log": stdlib.LogFunc, "lookup": stdlib.LookupFunc, "lower": stdlib.LowerFunc,
	"max": stdlib.MaxFunc, "merge": stdlib.MergeFunc, "min": stdlib.MinFunc, "parseint": stdlib.ParseIntFunc,
	"pow": stdlib.PowFunc, "range": stdlib.RangeFunc, "regex_replace": stdlib.RegexReplaceFunc, "replace": stdlib.ReplaceFunc,
	"reverse": stdlib.ReverseListFunc, "setintersection": stdlib.SetIntersectionFunc, "setproduct": stdlib.SetProductFunc,
	"setunion": stdlib.SetUnionFunc, "signum": stdlib.SignumFunc, "slice": stdlib.SliceFunc, "sort": stdlib.SortFunc,
	"split": stdlib.SplitFunc, "strlen": stdlib.StrlenFunc, "strrev": stdlib.ReverseFunc, "substr": stdlib.SubstrFunc,
	"timeadd": stdlib.TimeAddFunc, "title": stdlib.TitleFunc, "trim": stdlib.TrimFunc, "trimprefix": stdlib.TrimPrefixFunc,
	"trimspace": stdlib.TrimSpaceFunc, "trimsuffix": stdlib.TrimSuffixFunc, "upper": stdlib.UpperFunc,
	"values": stdlib.ValuesFunc, "zipmap": stdlib.ZipmapFunc,

	"can": tryfunc.CanFunc, "try": tryfunc.TryFunc,
	"yamldecode": ctyyaml.YAMLDecodeFunc, "yamlencode": ctyyaml.YAMLEncodeFunc,

	"base64encode": textFunction(func(s string) (string, error) {
		return base64.StdEncoding.EncodeToString([]byte(s)), nil
	}),
	"base64decode": textFunction(func(s string) (string, error) {
		data, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return "", fmt.Errorf("not base64: %w", err)
		}
		if !utf8.Valid(data) {
			return "", fmt.Errorf("the decoded bytes are not UTF-8 text")
		}
		return string(data), nil
	}),
	"urlencode": textFunction(func(s string) (string, error) { return url.QueryEscape(s), nil }),
	"md5":       textFunction(func(s string) (string, error) { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]), nil }),
	"sha1":      textFunction(func(s string) (string, error) { h := sha1.Sum([]byte(s)); return hex.EncodeToString(h[:]), nil }),
	"sha256":    textFunction(func(s string) (string, error) { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]), nil }),
	"sha512":    textFunction(func(s string) (string, error) { h := sha512.Sum512([]byte(s)); return hex.EncodeToString(h[:]), nil }),

	"bcrypt":      bcryptFunction,
	"rsadecrypt":  rsaDecryptFunction,
	"uuidv4":      uuidV4Function,
	"uuidv5":      uuidV5Function,
	"cidrhost":    cidrHostFunction,
	"cidrnetmask": cidrNetmaskFunction,
	"cidrsubnet":  cidrSubnetFunction,
	"cidrsubnets": cidrSubnetsFunction,
}

var fileFunctionNames = []string{"abspath", "basename", "dirname", "file", "filebase64", "fileexists", "fileset", "pathexpand"}

// functionTable lists the functions a file may call. Without leave to read files, those that would say so.
func functionTable(cfg ParseConfig) map[string]function.Function {
	all := make(map[string]function.Function, len(baseFunctions)+len(fileFunctionNames))
	for name, f := range baseFunctions {
		all[name] = f
	}
	if cfg.AllowFS {
		for name, f := range fileFunctions(cfg.Path) {
			all[name] = f
		}
		return all
	}
	for _, name := range fileFunctionNames {
		all[name] = function.New(&function.Spec{
			VarParam: &function.Parameter{Name: "args", Type: cty.DynamicPseudoType, AllowNull: true},
			Type:     function.StaticReturnType(cty.DynamicPseudoType),
			Impl: func([]cty.Value, cty.Type) (cty.Value, error) {
				return cty.NilVal, fmt.Errorf("files can be read only when the command line parses the job file")
			},
		})
	}
	return all
}

func textFunction(f func(string) (string, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "str", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			s, err := f(args[0].AsString())
			if err != nil {
				return cty.NilVal, function.NewArgError(0, err)
			}
			return cty.StringVal(s), nil
		},
	})
}

var bcryptFunction = function.New(&function.Spec{
	Params:   []function.Parameter{{Name: "str", Type: cty.String}},
	VarParam: &function.Parameter{Name: "cost", Type: cty.Number},
	Type:     function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		cost := int64(10)
		if len(args) > 2 {
			return cty.NilVal, fmt.Errorf("bcrypt takes a text and a cost")
		}
		if len(args) == 2 {
			var err error
			if cost, err = integer(args[1], int64(bcrypt.MinCost), bcryptCostMax); err != nil {
				return cty.NilVal, function.NewArgError(1, err)
			}
		}
		hash, err := bcrypt.GenerateFromPassword([]byte(args[0].AsString()), int(cost))
		if err != nil {
			return cty.NilVal, function.NewArgError(0, err)
		}
		return cty.StringVal(string(hash)), nil
	},
})

var rsaDecryptFunction = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "ciphertext", Type: cty.String}, {Name: "privatekey", Type: cty.String}},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		sealed, err := base64.StdEncoding.DecodeString(args[0].AsString())
		if err != nil {
			return cty.NilVal, function.NewArgErrorf(0, "not base64: %s", err)
		}
		blk, _ := pem.Decode([]byte(args[1].AsString()))
		if blk == nil {
			return cty.NilVal, function.NewArgErrorf(1, "not a PEM key")
		}
		key, err := x509.ParsePKCS1PrivateKey(blk.Bytes)
		if err != nil {
			return cty.NilVal, function.NewArgErrorf(1, "not an RSA key: %s", err)
		}
		//lint:ignore SA1019 what rsadecrypt of job files means is this scheme, weak as it is
		text, err := rsa.DecryptPKCS1v15(nil, key, sealed)
		if err != nil {
			return cty.NilVal, function.NewArgErrorf(0, "the key does not open it")
		}
		return cty.StringVal(string(text)), nil
	},
})

var uuidV4Function = function.New(&function.Spec{
	Type: function.StaticReturnType(cty.String),
	Impl: func([]cty.Value, cty.Type) (cty.Value, error) {
		id, err := uuid.NewRandom()
		return cty.StringVal(id.String()), err
	},
})

var uuidV5Function = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "namespace", Type: cty.String}, {Name: "name", Type: cty.String}},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		space, ok := map[string]uuid.UUID{
			"dns": uuid.NameSpaceDNS, "url": uuid.NameSpaceURL, "oid": uuid.NameSpaceOID, "x500": uuid.NameSpaceX500,
		}[args[0].AsString()]
		if !ok {
			var err error
			if space, err = uuid.Parse(args[0].AsString()); err != nil {
				return cty.NilVal, function.NewArgErrorf(0, "a UUID, dns, url, oid or x500 is required")
			}
		}
		return cty.StringVal(uuid.NewSHA1(space, []byte(args[1].AsString())).String()), nil
	},
})

var cidrHostFunction = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "prefix", Type: cty.String}, {Name: "hostnum", Type: cty.Number}},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		prefix, err := netip.ParsePrefix(args[0].AsString())
		if err != nil {
			return cty.NilVal, function.NewArgError(0, err)
		}
		n, acc := args[1].AsBigFloat().Int(nil)
		if n == nil || acc != big.Exact {
			return cty.NilVal, function.NewArgErrorf(1, "a whole number is required")
		}
		room := new(big.Int).Lsh(big.NewInt(1), uint(prefix.Addr().BitLen()-prefix.Bits()))
		if n.Sign() < 0 { // counted from the end
			n.Add(n, room)
		}
		if n.Sign() < 0 || n.Cmp(room) >= 0 {
			return cty.NilVal, function.NewArgErrorf(1, "prefix %s does not have that many hosts", prefix)
		}
		return cty.StringVal(addTo(prefix.Masked().Addr(), n).String()), nil
	},
})

var cidrNetmaskFunction = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "prefix", Type: cty.String}},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		prefix, err := netip.ParsePrefix(args[0].AsString())
		if err != nil {
			return cty.NilVal, function.NewArgError(0, err)
		}
		ones := make([]byte, prefix.Addr().BitLen()/8)
		for i := range ones {
			ones[i] = 0xff
		}
		all, _ := netip.AddrFromSlice(ones)
		mask, err := all.Prefix(prefix.Bits())
		if err != nil {
			return cty.NilVal, err
		}
		return cty.StringVal(mask.Addr().String()), nil
	},
})

var cidrSubnetFunction = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "prefix", Type: cty.String}, {Name: "newbits", Type: cty.Number}, {Name: "netnum", Type: cty.Number}},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		prefix, err := netip.ParsePrefix(args[0].AsString())
		if err != nil {
			return cty.NilVal, function.NewArgError(0, err)
		}
		bits, err := integer(args[1], 0, int64(prefix.Addr().BitLen()-prefix.Bits()))
		if err != nil {
			return cty.NilVal, function.NewArgErrorf(1, "not enough address space in %s to extend it by that many bits", prefix)
		}
		num, acc := args[2].AsBigFloat().Int(nil)
		if num == nil || acc != big.Exact || num.Sign() < 0 || num.BitLen() > int(bits) {
			return cty.NilVal, function.NewArgErrorf(2, "an extension of %d bits has no such network", bits)
		}
		length := prefix.Bits() + int(bits)
		num.Lsh(num, uint(prefix.Addr().BitLen()-length))
		return cty.StringVal(netip.PrefixFrom(addTo(prefix.Masked().Addr(), num), length).String()), nil
	},
})

var cidrSubnetsFunction = function.New(&function.Spec{
	Params:   []function.Parameter{{Name: "prefix", Type: cty.String}},
	VarParam: &function.Parameter{Name: "newbits", Type: cty.Number},
	Type:     function.StaticReturnType(cty.List(cty.String)),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		prefix, err := netip.ParsePrefix(args[0].AsString())
		if err != nil {
			return cty.NilVal, function.NewArgError(0, err)
		}
		width := prefix.Addr().BitLen()
		next := new(big.Int) // offset of the first free address
		room := new(big.Int).Lsh(big.NewInt(1), uint(width-prefix.Bits()))
		var list []cty.Value
		for i, arg := range args[1:] {
			bits, err := integer(arg, 1, int64(width-prefix.Bits()))
			if err != nil {
				return cty.NilVal, function.NewArgError(i+1, err)
			}
			length := prefix.Bits() + int(bits)
			size := new(big.Int).Lsh(big.NewInt(1), uint(width-length))
			if rest := new(big.Int).Mod(next, size); rest.Sign() > 0 { // networks start at a multiple of their size
				next.Add(next, size).Sub(next, rest)
			}
			if new(big.Int).Add(next, size).Cmp(room) > 0 {
				return cty.NilVal, function.NewArgErrorf(i+1, "not enough address space left in %s", prefix)
			}
			list = append(list, cty.StringVal(netip.PrefixFrom(addTo(prefix.Masked().Addr(), next), length).String()))
			next.Add(next, size)
		}
		if len(list) == 0 {
			return cty.ListValEmpty(cty.String), nil
		}
		return cty.ListVal(list), nil
	},
})

// addTo returns the n-th address after base. The caller has checked that there is one.
func addTo(base netip.Addr, n *big.Int) netip.Addr {
	sum := new(big.Int).SetBytes(base.AsSlice())
	sum.Add(sum, n)
	addr, ok := netip.AddrFromSlice(sum.FillBytes(make([]byte, base.BitLen()/8)))
	if !ok {
		panic("jobspec: address of impossible length")
	}
	return addr
}
