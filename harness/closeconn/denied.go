package closeconn

import (
	"net/http"
	"slices"
	"strings"
)

// deniedCodes are answers that every call of ours would get, whatever its
// client: by the beginning of their codes.
var deniedCodes = []string{
	"Missing", "InvalidAccessKeyId", "InvalidTimeStamp", "InvalidSecurityToken", "InvalidSignature", "IncompleteSignature", "SignatureDoesNotMatch",
	"CheckAccountInfoFailed", "Forbidden", "NoPermission", "InstancePermissionCheckFailed", "PermissionCheckFailed",
	"InvalidVersion", "InvalidAction", "InvalidApi", "ApiNotSupport", "UnsupportedHTTPMethod",
}

// Denied reports whether the endpoint refuses the caller and not only this
// call: the signature, the key, its permissions, or the operation itself.
func (e *APIError) Denied() bool {
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden ||
		slices.ContainsFunc(deniedCodes, func(code string) bool { return strings.HasPrefix(e.Code, code) })
}
