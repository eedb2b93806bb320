package closeconn

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
)

// The environment's key pair, of an endpoint that has no keys file.
const (
	EnvKeyID         = "REBOUND_ACCESS_KEY_ID"
	EnvKeySecret     = "REBOUND_ACCESS_KEY_SECRET"
	EnvSecurityToken = "REBOUND_SECURITY_TOKEN"
)

// Actions are the operations in the words of the vendor's access policies.
const (
	actionPrefix = "mq:"
	allActions   = "mq:*"
)

// KeyPair is an access key that the endpoint knows, and what it may do: the
// operations (actions) and the instances and clients (resources). An empty
// list allows all.
type KeyPair struct {
	acs.Credentials
	Disabled       bool
	Actions        []string // mq:CloseConnection, …; mq:* = all
	Instances      []string // InstanceIds
	ClientPrefixes []string // what a ClientId must begin with
}

// Keys are the access keys that an endpoint knows. It is not changed after it
// was made.
type Keys struct {
	byID map[string]*KeyPair
}

// NewKeys makes the keys of an endpoint; there is at least one. The error
// wraps ErrKeys.
func NewKeys(pairs ...KeyPair) (*Keys, error) {
	if len(pairs) == 0 {
		return nil, fmt.Errorf("%w: there is none, so nobody could call", ErrKeys)
	}
	k := &Keys{byID: make(map[string]*KeyPair, len(pairs))}
	for _, pair := range pairs {
		if _, known := k.byID[pair.KeyID]; known {
			return nil, fmt.Errorf("%w: %q is there twice", ErrKeys, pair.KeyID)
		}
		if err := pair.check(); err != nil {
			return nil, fmt.Errorf("%w: %q: %w", ErrKeys, pair.KeyID, err)
		}
		pair.Actions, pair.Instances, pair.ClientPrefixes = slices.Clone(pair.Actions), slices.Clone(pair.Instances), slices.Clone(pair.ClientPrefixes)
		k.byID[pair.KeyID] = &pair
	}
	return k, nil
}

// check finds what would never match anything.
func (k *KeyPair) check() error {
	if k.KeyID == "" || strings.ContainsAny(k.KeyID, " ,=") {
		return fmt.Errorf("an id is not empty and has no space, comma or equals sign")
	}
	if k.Secret == "" {
		return fmt.Errorf("there is no secret")
	}
	for _, action := range k.Actions {
		if !knownAction(action) {
			return fmt.Errorf("action %q is none: want %s or %sOPERATION, such as mq:CloseConnection", action, allActions, actionPrefix)
		}
	}
	return nil
}

func knownAction(action string) bool {
	name, found := strings.CutPrefix(action, actionPrefix)
	return action == allActions || found && slices.ContainsFunc(operations(), func(op operation) bool { return op.name == name })
}

// KeysFromEnv reads the one key pair of the environment; nil = there is none.
// The error wraps ErrKeys.
func KeysFromEnv(lookup func(name string) (value string, found bool)) (*Keys, error) {
	id, _ := lookup(EnvKeyID)
	secret, _ := lookup(EnvKeySecret)
	token, _ := lookup(EnvSecurityToken)
	if id == "" && secret == "" && token == "" {
		return nil, nil
	}
	if id == "" || secret == "" {
		return nil, fmt.Errorf("%w: the environment needs both %s and %s", ErrKeys, EnvKeyID, EnvKeySecret)
	}
	return NewKeys(KeyPair{Credentials: acs.Credentials{KeyID: id, Secret: secret, SecurityToken: token}})
}

// find gives the key of an id that may be used.
func (k *Keys) find(id string) (*KeyPair, *APIError) {
	pair := k.byID[id]
	switch {
	case pair == nil:
		return nil, coded("InvalidAccessKeyId.NotFound")
	case pair.Disabled:
		return nil, coded("InvalidAccessKeyId.Inactive")
	}
	return pair, nil
}

// mayCall reports whether the key's actions have an operation.
func (k *KeyPair) mayCall(operation string) bool {
	return len(k.Actions) == 0 || slices.ContainsFunc(k.Actions, func(action string) bool {
		return action == allActions || strings.TrimPrefix(action, actionPrefix) == operation
	})
}

// mayName reports whether the key has to do with a client: it may name it, and
// sees it in lists. Without a key everybody may.
func (k *KeyPair) mayName(clientID string) bool {
	return k == nil || len(k.ClientPrefixes) == 0 ||
		slices.ContainsFunc(k.ClientPrefixes, func(prefix string) bool { return strings.HasPrefix(clientID, prefix) })
}

// String is how many keys there are.
func (k Keys) String() string { return fmt.Sprintf("access keys: %d", len(k.byID)) }

// Format writes String for every verb: fmt would look through unexported
// fields, and not ask the credentials in them.
func (k Keys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// LogValue is String, for slog.
func (k Keys) LogValue() slog.Value { return slog.StringValue(k.String()) }
