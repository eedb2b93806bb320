package closeconn

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// Response headers with facts that the documented bodies have no place for.
const (
	// HeaderClosed is 1 when a client was online and this call closed its
	// connection, else 0.
	HeaderClosed = "X-Rebound-Closed"
	// HeaderClosedAt is CLOCK_MONOTONIC just before the close call, in ns: any
	// process of the host gets its own instant by subtracting its clock's
	// Monotonic().
	HeaderClosedAt = "X-Rebound-Closed-Monotonic-Ns"
)

// Sessions closes the connection of one client by its id. It returns when the
// socket is closed; found says whether it was online and this call closed it,
// at is the instant just before the close. An offline client is no error.
type Sessions interface {
	CloseClient(ctx context.Context, clientID string) (found bool, at timeline.Instant, err error)
}

// What Sessions may be able to do besides. An operation whose ability is
// missing answers ApiNotSupport.
type (
	// Presence tells who is online.
	Presence interface {
		Online(clientID string) bool
	}
	// Sender publishes a message into the broker, as the service's own QoS 1
	// publisher; the answer comes when the broker has it.
	Sender interface {
		Send(ctx context.Context, topic string, payload []byte) error
	}
	// BlockList refuses clients at CONNECT. Block closes no connection.
	BlockList interface {
		Block(clientID string) error // an error = the list is full
		Unblock(clientID string)
		Blocked() []string // sorted
	}
	// Tracer tells the connects and ends of a client within a span of the wall
	// clock, in order; bounded, so that the oldest may be gone.
	Tracer interface {
		Trace(clientID string, from, to time.Time) []target.DeviceEvent
	}
)

// Config is what an endpoint serves and how.
type Config struct {
	Sessions     Sessions        // required
	Keys         *Keys           // who may call what; nil = unsigned requests are believed, on loopback only
	InstanceIDs  []string        // the instances that exist; empty = any
	Throttle     float64         // calls per second and source address before Throttling.User; 0 = no limit
	Rules        []Rule          // injected faults
	Seed         uint64          // of the rules' chances
	Clock        *timeline.Clock // the clock of Sessions' instants; nil = HeaderClosedAt is left out
	TLS          *tls.Config     // serve HTTPS with it; nil = HTTP
	HostID       string          // HostId of error bodies; "" = the request's Host
	OfflineError bool            // answer an offline client with an error instead of success
	CloseTimeout time.Duration   // bound of one close; 0 = 5 s
	Log          *slog.Logger    // nil = silent
}

// success is the documented body of a call that worked: Code is a number.
type success struct {
	RequestID string `json:"RequestId"`
	Code      int
	Message   string
	Success   bool
}

// failure is the documented body of a call that failed: Code is a string.
type failure struct {
	RequestID string `json:"RequestId"`
	HostID    string `json:"HostId"`
	Code      string
	Message   string
}

type handler struct {
	cfg  Config
	gate *gate
	ops  map[string]operation
}

// Handler serves the API over cfg.Sessions. Mount it at the root of its own
// host and port: the vendor's clients can not use a path prefix.
func Handler(cfg Config) http.Handler {
	if cfg.CloseTimeout <= 0 {
		cfg.CloseTimeout = 5 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h := &handler{cfg: cfg, gate: newGate(cfg), ops: make(map[string]operation)}
	for _, op := range operations() {
		h.ops[op.name] = op
	}
	return h
}

// ServeHTTP answers one call, after its effect.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := newRequestID()
	out, fail := h.call(w, r)
	head := w.Header()
	head.Set("Content-Type", "application/json;charset=utf-8")
	head.Set("X-Acs-Request-Id", id)
	if fail != nil {
		host := h.cfg.HostID
		if host == "" {
			host = r.Host
		}
		answer(w, fail.Status, failure{RequestID: id, HostID: host, Code: fail.Code, Message: fail.Message})
		return
	}
	head.Set(HeaderClosed, "0")
	if out.closed {
		head.Set(HeaderClosed, "1")
		if h.cfg.Clock != nil && out.at != 0 {
			head.Set(HeaderClosedAt, strconv.FormatInt(h.cfg.Clock.Monotonic()+int64(out.at), 10))
		}
	}
	answer(w, http.StatusOK, success{RequestID: id, Code: http.StatusOK, Message: "operation success.", Success: true})
}

// call checks one request in the gateway's order (method, rate, version and
// action, signature, parameters, resources) and runs its operation.
func (h *handler) call(w http.ResponseWriter, r *http.Request) (outcome, *APIError) {
	var body []byte
	if r.Method == http.MethodPost {
		var err error
		if body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
			return outcome{}, errParameters()
		}
	}
	req, fail := parseRequest(r.Method, r.URL.Path, r.URL.RawQuery, r.Header, body)
	if fail != nil {
		return outcome{}, fail
	}
	if fail := h.gate.pace(r.RemoteAddr); fail != nil {
		return outcome{}, fail
	}
	op, fail := h.find(req)
	if fail != nil {
		return outcome{}, fail
	}
	key, fail := h.gate.admit(r, req, body)
	if fail != nil {
		return outcome{}, fail
	}
	for _, name := range op.required {
		if req.params.Get(name) == "" {
			return outcome{}, errMissing(name)
		}
	}
	if fail := h.gate.permit(key, req); fail != nil {
		return outcome{}, fail
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.cfg.CloseTimeout)
	defer cancel()
	return op.run(ctx, &h.cfg, req)
}

// find checks version and action.
func (h *handler) find(req request) (operation, *APIError) {
	switch {
	case req.version == "":
		return operation{}, errMissing("Version")
	case req.version != apiVersion:
		return operation{}, errVersion()
	case req.action == "":
		return operation{}, errMissing("Action")
	}
	op, known := h.ops[req.action]
	switch {
	case !known:
		return operation{}, errUnknownAction()
	case op.run == nil:
		return operation{}, errNotOffered()
	}
	return op, nil
}

// answer writes status and body; the length is set, so that keep-alive works
// without chunks.
func answer(w http.ResponseWriter, status int, body any) {
	raw, err := json.Marshal(body)
	if err != nil { // strings and numbers only: can not happen
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(status)
	_, _ = w.Write(raw) // a caller that went away gets no answer
}

// newRequestID makes a random UUID (RFC 9562 version 4) in upper case, as the
// service writes it.
func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
