package closeconn

func documented(code string) (*APIError, bool) {
	for _, e := range []*APIError{errInternal(), errNotOffered(), errParameters(), {Status: 400, Code: "Throttling.User", Message: "Request was denied due to user flow control."}} {
		if e.Code == code {
			return e, true
		}
	}
	return nil, false
}

func documentedCodes() []string { return []string{"InternalError"} }
