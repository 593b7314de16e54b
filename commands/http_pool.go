package commands

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"drover/eventlog/event"
	"drover/projections/rest"
)

// nodePoolRequest is a node pool as clients send it.
type nodePoolRequest struct {
	Name                   string
	Description            string
	Meta                   map[string]string
	NodeIdentityTTL        length
	SchedulerConfiguration *event.NodePoolScheduler
}

// length is a duration as text ("1h") or as a number of nanoseconds.
type length time.Duration

func (l *length) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		if text == "" {
			return nil
		}
		d, err := time.ParseDuration(text)
		*l = length(d)
		return err
	}
	return json.Unmarshal(data, (*time.Duration)(l))
}

func (h *HTTP) setNodePool(w http.ResponseWriter, r *http.Request) error {
	if _, _, err := h.question(r); err != nil {
		return err
	}
	var req nodePoolRequest
	if err := rest.DecodeJSON(w, r, settingBytesMax, &req); err != nil {
		return err
	}
	if named := r.PathValue("id"); named != "" && named != req.Name {
		return rest.Errorf(http.StatusBadRequest, "Node pool name does not match request path")
	}
	return h.set(w, r, SetNodePool{event.NodePool{
		Name: req.Name, Description: req.Description, Meta: req.Meta, NodeIdentityTTL: time.Duration(req.NodeIdentityTTL),
		SchedulerConfiguration: req.SchedulerConfiguration,
	}}, http.StatusBadRequest)
}

func (h *HTTP) deleteNodePool(w http.ResponseWriter, r *http.Request) error {
	if _, _, err := h.question(r); err != nil {
		return err
	}
	return h.set(w, r, DeleteNodePool{r.PathValue("id")}, http.StatusBadRequest)
}

// namespaceRequest is a namespace as clients send it.
type namespaceRequest struct {
	Name                  string
	Description           string
	Quota                 string
	Capabilities          *event.NamespaceCapabilities
	NodePoolConfiguration *event.NamespaceNodePools
	VaultConfiguration    *json.RawMessage
	ConsulConfiguration   *json.RawMessage
	Meta                  map[string]string
}

func (h *HTTP) setNamespace(w http.ResponseWriter, r *http.Request) error {
	if _, _, err := h.question(r); err != nil {
		return err
	}
	var req namespaceRequest
	if err := rest.DecodeJSON(w, r, settingBytesMax, &req); err != nil {
		return err
	}
	if named := r.PathValue("id"); named != "" && named != req.Name {
		return rest.Errorf(http.StatusBadRequest, "Namespace name does not match request path")
	}
	for what, set := range map[string]bool{
		"Quota": req.Quota != "", "VaultConfiguration": req.VaultConfiguration != nil, "ConsulConfiguration": req.ConsulConfiguration != nil,
	} {
		if set {
			return rest.Errorf(http.StatusNotImplemented, "%s of a namespace is not built in this version of Drover; apply it without", what)
		}
	}
	return h.set(w, r, SetNamespace{event.Namespace{
		Name: req.Name, Description: req.Description, Meta: req.Meta, Capabilities: req.Capabilities, NodePoolConfiguration: req.NodePoolConfiguration,
	}}, http.StatusBadRequest)
}

func (h *HTTP) deleteNamespace(w http.ResponseWriter, r *http.Request) error {
	if _, _, err := h.question(r); err != nil {
		return err
	}
	return h.set(w, r, DeleteNamespace{r.PathValue("id")}, http.StatusInternalServerError)
}

// set has an object set or deleted, which has no answer but that it was. invalid is
// the code for what can never be right.
func (h *HTTP) set(w http.ResponseWriter, r *http.Request, body Body, invalid int) error {
	result, err := h.do(r, apiCaller(r), body)
	var rejection *Rejection
	if errors.As(err, &rejection) {
		switch rejection.Reason {
		case ReasonNotFound:
			return rest.Errorf(http.StatusNotFound, "%s", rejection.Message)
		case ReasonInvalid:
			return rest.Errorf(invalid, "%s", rejection.Message)
		}
	}
	if err != nil {
		return httpError(err, false)
	}
	rest.SetIndex(w, result.Index)
	return rest.Empty(w)
}
