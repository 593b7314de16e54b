package commands

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/rest"
)

// RegisterNodeAgent adds the writing routes of node agents, which are served to
// agents and servers among themselves. Bodies and answers are CBOR.
func (h *HTTP) RegisterNodeAgent(rt *rest.Router) {
	rt.Handle(http.MethodPost, "/v1/node-agent/register", h.write(h.registerNode))
	rt.Handle(http.MethodPost, "/v1/node-agent/heartbeat", h.write(h.heartbeat))
	rt.Handle(http.MethodPost, "/v1/node-agent/report", h.write(h.report))
}

// readCBOR reads a body and checks that it names who sends it.
func readCBOR(w http.ResponseWriter, r *http.Request, limit int64, into any, credentials *event.NodeCredentials) error {
	body, err := rest.ReadBody(w, r, limit)
	if err != nil {
		return err
	}
	if err := event.Unmarshal(body, into); err != nil {
		return rest.Errorf(http.StatusBadRequest, "failed to decode the request body: %v", err)
	}
	if credentials.NodeID.IsZero() || credentials.Secret.IsZero() {
		return rest.Errorf(http.StatusBadRequest, "the request names no node or no secret")
	}
	return nil
}

func nodeCaller(r *http.Request, node event.ID) event.Caller {
	return event.Caller{Kind: event.CallerNode, Name: node.String(), Address: r.RemoteAddr}
}

func secretHash(c *event.NodeCredentials) event.Hash { return event.HashOf(c.Secret[:]) }

func (h *HTTP) registerNode(w http.ResponseWriter, r *http.Request) error {
	var req event.NodeRegistration
	if err := readCBOR(w, r, registrationBytesMax, &req, &req.NodeCredentials); err != nil {
		return err
	}
	if req.Node == nil || req.Node.ID != req.NodeID {
		return rest.Errorf(http.StatusBadRequest, "the registration of node %v carries the fingerprint of another node, or none", req.NodeID)
	}
	result, err := h.do(r, nodeCaller(r, req.NodeID), RegisterNode{
		Node: req.Node, SecretHash: secretHash(&req.NodeCredentials), Incarnation: req.Incarnation,
		Ineligible: req.Ineligible,
	})
	if err != nil {
		return httpError(err, true)
	}
	return h.answerNode(w, result.State, result.Index, req.NodeID)
}

func (h *HTTP) report(w http.ResponseWriter, r *http.Request) error {
	var req event.NodeReport
	if err := readCBOR(w, r, reportBytesMax, &req, &req.NodeCredentials); err != nil {
		return err
	}
	result, err := h.do(r, nodeCaller(r, req.NodeID), ReportAllocations{
		NodeID: req.NodeID, SecretHash: secretHash(&req.NodeCredentials), Incarnation: req.Incarnation,
		Sequence: req.Sequence, Ready: req.Ready, Deltas: req.Deltas,
	})
	if err != nil {
		return httpError(err, true)
	}
	return h.answerNode(w, result.State, result.Index, req.NodeID)
}

// heartbeat is no command: that a node lived a moment ago is no fact about a
// decision. Only its absence becomes one.
func (h *HTTP) heartbeat(w http.ResponseWriter, r *http.Request) error {
	var req event.NodeHeartbeat
	if err := readCBOR(w, r, heartbeatBytesMax, &req, &req.NodeCredentials); err != nil {
		return err
	}
	state := h.cfg.Store.Snapshot()
	node := state.Node(req.NodeID)
	if node == nil {
		return rest.Errorf(http.StatusNotFound, "node %v is not registered", req.NodeID)
	}
	hash := secretHash(&req.NodeCredentials)
	if subtle.ConstantTimeCompare(hash[:], node.SecretHash[:]) != 1 {
		return rest.Errorf(http.StatusForbidden, "node %v is registered with another secret", req.NodeID)
	}
	if req.Incarnation != node.Incarnation {
		if req.Incarnation > node.Incarnation {
			return rest.Errorf(http.StatusNotFound, "incarnation %d of node %v is not registered", req.Incarnation, req.NodeID)
		}
		return rest.Errorf(http.StatusConflict, "node %v is at incarnation %d; this agent is an older one, %d", req.NodeID, node.Incarnation, req.Incarnation)
	}
	if node.Status == event.NodeDown {
		return writeCBOR(w, &event.NodeAnswer{Index: state.Index(), Eligibility: node.Eligibility(), Register: true})
	}
	ttl, err := h.cfg.Beat(req.NodeID)
	if err != nil {
		return rest.Errorf(http.StatusServiceUnavailable, "note the heartbeat of node %v: %v", req.NodeID, err)
	}
	return writeCBOR(w, &event.NodeAnswer{Index: state.Index(), HeartbeatTTL: int64(ttl), Eligibility: node.Eligibility()})
}

// answerNode answers an agent whose command was committed. That it lives is
// noted too; when this server has just ceased to lead, what the agent asked for
// is done all the same, and it only has to find the leader in time.
func (h *HTTP) answerNode(w http.ResponseWriter, s *projections.State, index uint64, id event.ID) error {
	ttl, err := h.cfg.Beat(id)
	if err != nil {
		ttl = heartbeatRetry
	}
	answer := &event.NodeAnswer{Index: index, HeartbeatTTL: int64(ttl)}
	if node := s.Node(id); node != nil {
		answer.Eligibility = node.Eligibility()
	}
	return writeCBOR(w, answer)
}

func writeCBOR(w http.ResponseWriter, value any) error {
	body, err := event.Marshal(value)
	if err != nil {
		panic("encode an answer to a node agent: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/cbor")
	_, _ = w.Write(body) // an agent that is gone asks again
	return nil
}

// NodeUpdateResponse answers a node whose eligibility was set, or whose jobs are looked at.
type NodeUpdateResponse struct {
	NodeModifyIndex uint64
	EvalIDs         []event.ID // of the jobs that are looked at because of it
	EvalCreateIndex uint64
	WriteAnswer
}

func (h *HTTP) setEligibility(w http.ResponseWriter, r *http.Request) error {
	if _, _, err := h.question(r); err != nil {
		return err
	}
	body, err := rest.ReadBody(w, r, settingBytesMax)
	if err != nil {
		return err
	}
	var req struct{ NodeID, Eligibility string }
	if err := json.Unmarshal(body, &req); err != nil {
		return rest.Errorf(http.StatusBadRequest, "failed to decode the request body: %v", err)
	}
	id, err := event.ParseID(r.PathValue("id"))
	switch {
	case err != nil:
		return rest.Errorf(http.StatusNotFound, "node not found")
	case req.NodeID != "" && req.NodeID != r.PathValue("id"):
		return rest.Errorf(http.StatusBadRequest, "Node ID does not match")
	case req.Eligibility != event.Eligible && req.Eligibility != event.Ineligible:
		return rest.Errorf(http.StatusInternalServerError, "invalid scheduling eligibility %q: it is %s or %s", req.Eligibility, event.Eligible, event.Ineligible)
	}
	result, err := h.do(r, apiCaller(r), SetEligibility{NodeID: id, Eligible: req.Eligibility == event.Eligible})
	if err != nil {
		return httpError(err, false)
	}
	return answerNodeUpdate(w, r, result, id)
}

// evaluateNode has the jobs of a node looked at.
func (h *HTTP) evaluateNode(w http.ResponseWriter, r *http.Request) error {
	if _, _, err := h.question(r); err != nil {
		return err
	}
	id, err := event.ParseID(r.PathValue("id"))
	if err != nil {
		return rest.Errorf(http.StatusInternalServerError, "node lookup failed: %v", err)
	}
	result, err := h.do(r, apiCaller(r), EvaluateNode{NodeID: id})
	if err != nil {
		return httpError(err, false)
	}
	return answerNodeUpdate(w, r, result, id)
}

func answerNodeUpdate(w http.ResponseWriter, r *http.Request, result Result, id event.ID) error {
	resp := NodeUpdateResponse{EvalIDs: []event.ID{}, WriteAnswer: writeAnswer(result)}
	for _, record := range result.Records {
		if e, ok := record.Event.(*event.EvaluationCreated); ok {
			resp.EvalIDs = append(resp.EvalIDs, e.Evaluation.ID)
			resp.EvalCreateIndex = record.Index
		}
	}
	if node := result.State.Node(id); node != nil {
		resp.NodeModifyIndex = node.ModifyIndex
	}
	rest.SetIndex(w, result.Index)
	return rest.JSON(w, r, &resp)
}
