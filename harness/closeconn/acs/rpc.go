package acs

import (
	"crypto/hmac"
	"crypto/sha1" // the scheme's own choice
	"encoding/base64"
	"net/url"
	"time"
)

// The parameters that sign a request in RPC style.
const (
	ParamKeyID         = "AccessKeyId"
	ParamMethod        = "SignatureMethod"
	ParamNonce         = "SignatureNonce"
	ParamSignature     = "Signature"
	ParamSecurityToken = "SecurityToken"
	ParamTimestamp     = "Timestamp"
	ParamVersion       = "SignatureVersion"

	MethodHMACSHA1 = "HMAC-SHA1" // the only SignatureMethod that is built
	Version1       = "1.0"       // the only SignatureVersion there is
)

// TimeFormat is how both schemes write an instant: UTC, ISO 8601. Parsing with
// it accepts fractional seconds, which some clients send.
const TimeFormat = "2006-01-02T15:04:05Z"

// RPCStringToSign is what an RPC signature signs: the HTTP method and all
// parameters of query and form but the signature itself.
func RPCStringToSign(method string, params url.Values) string {
	canonical := appendCanonical(make([]byte, 0, 512), params, ParamSignature)
	signed := make([]byte, 0, len(method)+5+len(canonical)*3/2)
	signed = append(signed, method...)
	signed = append(signed, "&%2F&"...)
	return string(appendEscapedBytes(signed, canonical))
}

// RPCSignature signs a string to sign with a key's secret.
func RPCSignature(secret, stringToSign string) string {
	mac := hmac.New(sha1.New, []byte(secret+"&"))
	mac.Write([]byte(stringToSign))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// SignRPC signs a request in RPC style: it adds to params, which are all
// parameters of query and form, AccessKeyId, SignatureMethod, SignatureNonce,
// SignatureVersion, Timestamp, SecurityToken (if the credentials have one) and
// Signature. The nonce must be new for each request.
func SignRPC(c Credentials, method string, params url.Values, nonce string, at time.Time) {
	params.Set(ParamKeyID, c.KeyID)
	params.Set(ParamMethod, MethodHMACSHA1)
	params.Set(ParamNonce, nonce)
	params.Set(ParamVersion, Version1)
	params.Set(ParamTimestamp, at.UTC().Format(TimeFormat))
	params.Del(ParamSecurityToken)
	if c.SecurityToken != "" {
		params.Set(ParamSecurityToken, c.SecurityToken)
	}
	params.Set(ParamSignature, RPCSignature(c.Secret, RPCStringToSign(method, params)))
}
