package closeconn

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strconv"
)

// body is the documented body of a success. Its Go struct has the vendor's
// names, so that JSON and XML are written from the same one; a list is written
// as the service writes it in XML, its name repeated for each element.
type body interface{ setRequestID(string) }

// bodyHead is in every body.
type bodyHead struct {
	RequestID string `json:"RequestId" xml:"RequestId"`
}

func (h *bodyHead) setRequestID(id string) { h.RequestID = id }

// result is the body of an operation with nothing to tell, and the head of some
// that have: Code is a number.
type result struct {
	bodyHead
	Code    int
	Message string
	Success bool
}

func done() *result {
	return &result{Code: http.StatusOK, Message: "operation success.", Success: true}
}

// failure is the documented body of a call that failed: Code is a string.
type failure struct {
	RequestID string `json:"RequestId" xml:"RequestId"`
	HostID    string `json:"HostId" xml:"HostId"`
	Code      string
	Message   string
}

// answer writes status and body as JSON; the length is set, so that keep-alive
// works without chunks.
func answer(w http.ResponseWriter, status int, body any) {
	raw, err := json.Marshal(body)
	if err != nil { // strings, numbers and lists of them: can not happen
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, status, "application/json;charset=utf-8", raw)
}

// answerXML writes status and body as XML under a root element.
func answerXML(w http.ResponseWriter, status int, root string, body any) {
	raw := bytes.NewBufferString(xml.Header)
	start := xml.StartElement{Name: xml.Name{Local: root}}
	if err := xml.NewEncoder(raw).EncodeElement(body, start); err != nil { // as above
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, status, "application/xml;charset=utf-8", raw.Bytes())
}

func write(w http.ResponseWriter, status int, mediaType string, raw []byte) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(status)
	_, _ = w.Write(raw) // a caller that went away gets no answer
}
