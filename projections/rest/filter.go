package rest

import (
	"encoding"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/hashicorp/go-bexpr"

	"drover/eventlog/event"
)

// Filter is an expression over the fields of an object, as the API names them.
type Filter struct{ evaluator *bexpr.Evaluator }

// ParseFilter reads an expression. An error is answered with 400.
func ParseFilter(text string) (f *Filter, err error) {
	refuse := func(why any) error {
		return Errorf(http.StatusBadRequest, "failed to create result paginator: failed to read filter expression: %v", why)
	}
	if len(text) > filterBytesMax {
		return nil, refuse(fmt.Sprintf("it is longer than %d bytes", filterBytesMax))
	}
	evaluator, err := bexpr.CreateEvaluator(text, bexpr.WithHookFn(asShown), bexpr.WithMaxExpressions(filterStepsMax))
	if err != nil {
		return nil, refuse(err)
	}
	return &Filter{evaluator}, nil
}

// Match evaluates the expression over one object. An error (a field that the
// object does not have, an operator that does not suit it) is answered with 400.
func (f *Filter) Match(object any) (bool, error) {
	if f == nil {
		return true, nil
	}
	ok, err := f.evaluator.Evaluate(object)
	if err != nil {
		return false, Errorf(http.StatusBadRequest, "failed to read result page: %v", err)
	}
	return ok, nil
}

var (
	textType  = reflect.TypeFor[encoding.TextMarshaler]()
	stampType = reflect.TypeFor[event.Stamp]()
	scoreType = reflect.TypeFor[event.Score]()
)

// asShown makes the filter see a value as the API shows it: identifiers and
// statuses as words, moments as RFC 3339.
func asShown(v reflect.Value) reflect.Value {
	if !v.IsValid() || v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		return v
	}
	switch v.Type() {
	case stampType:
		return reflect.ValueOf(event.Stamp(v.Int()).Time().Format(time.RFC3339Nano))
	case scoreType:
		return reflect.ValueOf(float64(v.Int()) / event.ScoreScale)
	}
	if v.Type().Implements(textType) {
		text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
		if err == nil {
			return reflect.ValueOf(string(text))
		}
	}
	return v
}
