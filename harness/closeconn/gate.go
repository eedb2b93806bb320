package closeconn

import (
	"crypto/subtle"
	"net/http"
	"slices"
	"time"
)

// window is how far a request's instant may be from ours, both ways.
const window = 15 * time.Minute

// gate decides who may call what. Its checks stand in three places of a call,
// in the order of the vendor's gateway: pace, before anything else is looked
// at; admit, when the operation is known; permit, when its parameters are.
type gate struct {
	keys      *Keys // nil = everybody may, unsigned
	instances []string
	throttle  *throttle            // nil = no limit
	nonces    map[string]*nonceSet // by AccessKeyId
	now       func() time.Time
}

func newGate(cfg Config) *gate {
	g := &gate{keys: cfg.Keys, instances: cfg.InstanceIDs, now: time.Now, nonces: make(map[string]*nonceSet)}
	if cfg.Throttle > 0 {
		g.throttle = newThrottle(cfg.Throttle)
	}
	if g.keys != nil {
		for id := range g.keys.byID {
			g.nonces[id] = newNonceSet(maxNonces)
		}
	}
	return g
}

// pace refuses a source address that calls too often.
func (g *gate) pace(remoteAddr string) *APIError {
	if g.throttle != nil && !g.throttle.allow(remoteAddr, g.now()) {
		return coded("Throttling.User")
	}
	return nil
}

// admit checks who signed a request, that this is what they signed, that it is
// new, and that they may call this operation. The key is nil when requests are
// not signed here. body is all that was read of the request.
func (g *gate) admit(r *http.Request, req request, body []byte) (*KeyPair, *APIError) {
	if g.keys == nil {
		return nil, nil
	}
	c, fail := claimOf(r, req, body)
	if fail != nil {
		return nil, fail
	}
	key, fail := g.keys.find(c.keyID)
	if fail != nil {
		return nil, fail
	}
	if !same(c.token, key.SecurityToken) {
		return nil, coded("CheckAccountInfoFailed")
	}
	now := g.now()
	at, fail := c.fresh(now)
	if fail != nil {
		return nil, fail
	}
	if fail := c.check(key.Secret); fail != nil {
		return nil, fail
	}
	// Only now: otherwise anybody could use up a nonce, and the set's room.
	if fail := g.nonces[c.keyID].use(c.nonce, at, now); fail != nil {
		return nil, fail
	}
	if !key.mayCall(req.action) {
		fail := coded("NoPermission")
		fail.Message += " Action: " + actionPrefix + req.action
		return nil, fail
	}
	return key, nil
}

// permit checks that the instance exists and that the key may use it, and the
// clients that the parameters name.
func (g *gate) permit(req request) *APIError {
	instance := req.params.Get("InstanceId")
	if !allowed(g.instances, instance) || req.key != nil && !allowed(req.key.Instances, instance) {
		return coded("InstancePermissionCheckFailed")
	}
	for _, clientID := range req.clientIDs() {
		if !req.key.mayName(clientID) {
			return coded("PermissionCheckFailed")
		}
	}
	return nil
}

// allowed reports whether a list names the value; an empty list names all.
func allowed(list []string, value string) bool { return len(list) == 0 || slices.Contains(list, value) }

// same compares what must not be guessed letter by letter.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
