package closeconn

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
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
	// HeaderInjected is there when a rule made the answer: its code, or "delay".
	// HeaderClosed stands beside it when the operation took effect all the same.
	HeaderInjected = "X-Rebound-Injected"
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
	Ending       <-chan struct{} // closed when the endpoint is to end: injected delays are over then; nil = never
	Clock        *timeline.Clock // the clock of Sessions' instants; nil = HeaderClosedAt is left out
	TLS          *tls.Config     // serve HTTPS with it; nil = HTTP
	HostID       string          // HostId of error bodies; "" = the request's Host
	OfflineError bool            // answer an offline client with an error instead of success
	CloseTimeout time.Duration   // bound of one close; 0 = 5 s
	Log          *slog.Logger    // nil = silent
}

type handler struct {
	cfg      Config
	gate     *gate
	injector *injector
	ops      map[string]operation
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
	h := &handler{
		cfg: cfg, gate: newGate(cfg), injector: newInjector(cfg.Rules, cfg.Seed), ops: make(map[string]operation),
	}
	for _, op := range operations() {
		if op.able != nil && !op.able(cfg.Sessions) {
			op.parse = nil
		}
		h.ops[op.name] = op
	}
	return h
}

// ServeHTTP answers one call, after its effect.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := newRequestID()
	req, out, fail := h.call(w, r)
	w.Header().Set("X-Acs-Request-Id", id)
	h.setFacts(w.Header(), out)
	status, root := http.StatusOK, req.action+"Response"
	var answered any
	if fail != nil {
		host := h.cfg.HostID
		if host == "" {
			host = r.Host
		}
		status, root = fail.Status, "Error"
		answered = failure{RequestID: id, HostID: host, Code: fail.Code, Message: fail.Message}
	} else {
		out.body.setRequestID(id)
		answered = out.body
	}
	if wantsXML(req) {
		answerXML(w, status, root, answered)
		return
	}
	answer(w, status, answered)
}

// setFacts writes what a harness may want to know and the bodies have no place
// for.
func (h *handler) setFacts(head http.Header, out outcome) {
	if out.injected != "" {
		head.Set(HeaderInjected, out.injected)
	}
	if out.found == nil {
		return
	}
	head.Set(HeaderClosed, "0")
	if *out.found {
		head.Set(HeaderClosed, "1")
		if h.cfg.Clock != nil && out.at != 0 {
			head.Set(HeaderClosedAt, strconv.FormatInt(h.cfg.Clock.Monotonic()+int64(out.at), 10))
		}
	}
}

// wantsXML reports whether a call is to be answered in XML: JSON is the answer
// of the header style always, and of the other unless it asks.
func wantsXML(req request) bool {
	return req.scheme != acs.ACS3 && strings.EqualFold(req.params.Get("Format"), "XML")
}

// call checks one request and runs its operation, with an injected fault if a
// rule hits it. The request is returned as far as it could be read.
func (h *handler) call(w http.ResponseWriter, r *http.Request) (request, outcome, *APIError) {
	req, run, fail := h.check(w, r)
	if fail != nil {
		return req, outcome{}, fail
	}
	effect := func() (outcome, *APIError) {
		ctx, cancel := context.WithTimeout(r.Context(), h.cfg.CloseTimeout)
		defer cancel()
		return run(ctx, &h.cfg)
	}
	var out outcome
	if rule := h.injector.hit(req); rule != nil {
		out, fail = rule.inject(r.Context(), h.cfg.Ending, effect)
	} else {
		out, fail = effect()
	}
	return req, out, fail
}

// check reads a request and makes the checks of the gateway in its order:
// method, rate, version and action, signature, parameters, resources.
func (h *handler) check(w http.ResponseWriter, r *http.Request) (request, run, *APIError) {
	var body []byte
	if r.Method == http.MethodPost {
		var err error
		if body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
			return request{}, nil, errParameters()
		}
	}
	req, fail := parseRequest(r.Method, r.URL.Path, r.URL.RawQuery, r.Header, body)
	if fail != nil {
		return req, nil, fail
	}
	if fail := h.gate.pace(r.RemoteAddr); fail != nil {
		return req, nil, fail
	}
	op, fail := h.find(req)
	if fail != nil {
		return req, nil, fail
	}
	if req.key, fail = h.gate.admit(r, req, body); fail != nil {
		return req, nil, fail
	}
	for _, name := range op.required {
		if req.params.Get(name) == "" {
			return req, nil, errMissing(name)
		}
	}
	run, fail := op.parse(req)
	if fail != nil {
		return req, nil, fail
	}
	if fail := h.gate.permit(req); fail != nil {
		return req, nil, fail
	}
	return req, run, nil
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
	case op.parse == nil:
		return operation{}, errNotOffered()
	}
	return op, nil
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
