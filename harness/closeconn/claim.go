package closeconn

import (
	"net/http"
	"slices"
	"time"

	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
)

// claim is what a request says of its signature, in either scheme.
type claim struct {
	keyID     string
	token     string // of temporary credentials
	timestamp string
	nonce     string
	dated     string // where this scheme has its timestamp, for messages
	// check compares the signature with ours. The answer to a wrong one echoes
	// the string to sign: the vendor's clients compare it with their own, and
	// tell by that a wrong secret from a wrong request.
	check func(secret string) *APIError
}

// claimOf reads the claim of a request that has to be signed.
func claimOf(r *http.Request, req request, body []byte) (claim, *APIError) {
	var c claim
	var fail *APIError
	if req.scheme == acs.ACS3 {
		c, fail = acs3Claim(r, req, body)
	} else {
		c = rpcClaim(r, req)
	}
	if fail == nil && c.keyID == "" {
		fail = errMissing(acs.ParamKeyID)
	}
	return c, fail
}

// fresh checks the instant of a request: within the window, edges included.
func (c claim) fresh(now time.Time) (time.Time, *APIError) {
	if c.timestamp == "" {
		return time.Time{}, errMissingAs(acs.ParamTimestamp, c.dated)
	}
	at, err := time.Parse(acs.TimeFormat, c.timestamp)
	if err != nil {
		return time.Time{}, coded("InvalidTimeStamp.Format")
	}
	if at.Before(now.Add(-window)) || at.After(now.Add(window)) {
		return time.Time{}, coded("InvalidTimeStamp.Expired")
	}
	return at, nil
}

func rpcClaim(r *http.Request, req request) claim {
	get := req.params.Get
	return claim{
		keyID:     get(acs.ParamKeyID),
		token:     get(acs.ParamSecurityToken),
		timestamp: get(acs.ParamTimestamp),
		nonce:     get(acs.ParamNonce),
		dated:     acs.ParamTimestamp,
		check: func(secret string) *APIError {
			for _, name := range []string{acs.ParamMethod, acs.ParamVersion, acs.ParamNonce, acs.ParamSignature} {
				if get(name) == "" {
					return errMissing(name)
				}
			}
			if get(acs.ParamMethod) != acs.MethodHMACSHA1 {
				return coded("InvalidSignatureMethod")
			}
			if get(acs.ParamVersion) != acs.Version1 {
				return errParameter(acs.ParamVersion)
			}
			toSign := acs.RPCStringToSign(r.Method, req.params)
			if !same(get(acs.ParamSignature), acs.RPCSignature(secret, toSign)) {
				return errMismatch(textMismatchRPC + toSign)
			}
			return nil
		},
	}
}

func acs3Claim(r *http.Request, req request, body []byte) (claim, *APIError) {
	auth, err := acs.ParseAuthorization(r.Header.Get("Authorization"))
	if auth.Algorithm != "" && auth.Algorithm != acs.AlgorithmHMACSHA256 {
		return claim{}, coded("InvalidSignatureMethod")
	}
	hash := acs.Hash(body)
	signed := acs.Canonical{Method: r.Method, Path: r.URL.Path, Query: req.query, Host: r.Host,
		Header: r.Header, Signed: acs.MustSign(r.Header), Payload: hash}
	if err != nil {
		return claim{}, errIncomplete(signed)
	}
	get := signed.Value
	return claim{
		keyID:     auth.KeyID,
		token:     get(acs.HeaderSecurityToken),
		timestamp: get(acs.HeaderDate),
		nonce:     get(acs.HeaderNonce),
		dated:     acs.HeaderDate,
		check: func(secret string) *APIError {
			if get(acs.HeaderNonce) == "" {
				return errMissingAs(acs.ParamNonce, acs.HeaderNonce)
			}
			for _, name := range signed.Signed {
				if !slices.Contains(auth.SignedHeaders, name) {
					return errIncomplete(signed)
				}
			}
			signed.Signed = auth.SignedHeaders
			toSign := signed.StringToSign()
			// Ours is made with the body's real hash, so a changed body shows as
			// another string to sign and not as a wrong secret.
			if r.Header.Get(acs.HeaderContentSHA256) != hash || !same(auth.Signature, acs.ACS3Signature(secret, toSign)) {
				return errMismatch(textMismatchACS3 + toSign + "]")
			}
			return nil
		},
	}, nil
}

// errIncomplete names the string to sign that would do, over all headers that
// have to be signed.
func errIncomplete(signed acs.Canonical) *APIError {
	e := coded("IncompleteSignature")
	e.Message = textIncomplete + signed.StringToSign()
	return e
}

func errMismatch(message string) *APIError {
	e := coded("SignatureDoesNotMatch")
	e.Message = message
	return e
}
