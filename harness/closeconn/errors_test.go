package closeconn

import (
	"net/http"
	"strings"
	"testing"
)

func TestDocumentedErrors(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range documentedErrors {
		if seen[row.Code] || row.Code == "" || row.Message == "" || row.RequestID != "" {
			t.Errorf("row %+v is there twice, or has a part too many or too few", row)
		}
		seen[row.Code] = true
		switch row.Status {
		case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusInternalServerError:
		default:
			t.Errorf("%s: status %d", row.Code, row.Status)
		}
		got, found := documented(row.Code)
		if !found || *got != row {
			t.Errorf("%s: got %v, %v", row.Code, got, found)
			continue
		}
		got.Message = "spoiled"
		if again, _ := documented(row.Code); again.Message != row.Message {
			t.Errorf("%s: the table can be changed through what it gives out", row.Code)
		}
	}
	for code, message := range map[string]string{
		"MissingClientId":           "ClientId is mandatory for this action.",
		"InvalidParameter.ClientId": "An error occurred while validating the parameter. The parameter may be missing or invalid.",
	} {
		if got, found := documented(code); !found || got.Status != http.StatusBadRequest || got.Code != code || got.Message != message {
			t.Errorf("%s: %+v, %v", code, got, found)
		}
	}
	for _, code := range []string{"", "Missing", "InvalidParameter.", "Nonsense", "throttling"} {
		if got, found := documented(code); found {
			t.Errorf("%q is documented as %v", code, got)
		}
	}
	if len(seen) < 25 || !strings.HasSuffix(textMismatchRPC, "server string to sign is:") {
		t.Errorf("%d codes", len(seen))
	}
}
