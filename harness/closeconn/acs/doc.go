// Package acs is how requests to the cloud's API are signed: the two schemes
// that its clients use, RPC with HMAC-SHA1 and ACS3-HMAC-SHA256.
//
// In: a request's method, parameters or headers, and a key's secret. Out: the
// string to sign and its signature, for the endpoint that verifies as for the
// client that signs.
// It imports nothing of the project.
package acs

// Scheme is how a request is signed.
type Scheme string

// The schemes.
const (
	None Scheme = "none" // not at all
	RPC  Scheme = "rpc"  // HMAC-SHA1 over the parameters, which hold the signature
	ACS3 Scheme = "acs3" // HMAC-SHA256 over a canonical request, in the Authorization header
)

// Credentials are an access key as its holder has it.
type Credentials struct {
	KeyID         string // AccessKeyId
	Secret        string // AccessKeySecret; never in a log or report
	SecurityToken string // of temporary (STS) credentials; "" = a long-lived key
}
