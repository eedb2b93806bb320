package closeconn

import "context"

// closeConnection closes the connection of one client and answers when it is
// closed. Its session is not touched.
func closeConnection(r request) (run, *APIError) {
	clientID := r.params.Get("ClientId")
	return func(ctx context.Context, cfg *Config) (outcome, *APIError) {
		found, at, err := cfg.Sessions.CloseClient(ctx, clientID)
		if err != nil {
			cfg.Log.Warn("CloseConnection failed", "error", err)
			return outcome{}, errInternal()
		}
		if !found && cfg.OfflineError {
			// The documented list has no code for it; this is the nearest one.
			return outcome{}, errParameter("ClientId")
		}
		return outcome{body: done(), found: &found, at: at}, nil
	}, nil
}
