package commands

import (
	"context"
	"net/http"
)

// collectGarbage has all leave the state that may, without regard to its age.
// Unlike the field's servers it answers when that is done.
func (h *HTTP) collectGarbage(_ http.ResponseWriter, r *http.Request) error {
	if _, _, err := h.question(r); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), requestWaitMax)
	defer cancel()
	if err := h.cfg.Collect(ctx); err != nil {
		return httpError(err, false)
	}
	return nil
}
