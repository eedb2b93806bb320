package scenarios

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

const (
	maxDuration = 720 * time.Hour // no run is longer; keeps sums far from overflow
	maxRate     = 1e6             // per second
	maxPayload  = 1 << 20         // bytes
)

var (
	durationForm = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$`)
	shareForm    = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?%$`)
	rateForm     = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?/([0-9]+(\.[0-9]+)?)?(ms|s|m|h)$`)
	numberForm   = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)
)

// parseDuration reads a duration such as 250ms, 5s or 1m30s.
func parseDuration(s string) (time.Duration, error) {
	if !durationForm.MatchString(s) {
		return 0, errors.New("want a duration such as 250ms, 5s or 1m30s")
	}
	d, err := time.ParseDuration(s)
	if err != nil || d > maxDuration {
		return 0, fmt.Errorf("a duration is at most %s", maxDuration)
	}
	return d, nil
}

// parseShare reads a share such as 95% as a fraction from 0 to 1.
func parseShare(s string) (float64, error) {
	if !shareForm.MatchString(s) {
		return 0, errors.New("want a share such as 95%")
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || v > 100 {
		return 0, errors.New("a share is at most 100%")
	}
	return v / 100, nil
}

// parseRate reads a rate such as 500/s or 1/5s as a number per second.
func parseRate(s string) (float64, error) {
	if !rateForm.MatchString(s) {
		return 0, errors.New("want a rate such as 500/s or 1/5s")
	}
	count, per, _ := strings.Cut(s, "/")
	n, err := strconv.ParseFloat(count, 64)
	if err != nil {
		return 0, errors.New("want a rate such as 500/s or 1/5s")
	}
	if per[0] < '0' || per[0] > '9' {
		per = "1" + per
	}
	d, err := parseDuration(per)
	if err != nil {
		return 0, err
	}
	if n == 0 || d == 0 {
		return 0, errors.New("neither side of a rate may be 0")
	}
	rate := n / d.Seconds()
	if rate > maxRate {
		return 0, fmt.Errorf("a rate is at most %.0f/s", maxRate)
	}
	return rate, nil
}

// parseBytes reads a size such as 64B or 2KiB.
func parseBytes(s string) (int, error) {
	for _, u := range []struct {
		suffix string
		factor int
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"B", 1}} {
		if digits, ok := strings.CutSuffix(s, u.suffix); ok {
			n, err := strconv.Atoi(digits)
			switch {
			case errors.Is(err, strconv.ErrRange), err == nil && n > maxPayload/u.factor:
				return 0, fmt.Errorf("a payload is at most %d bytes", maxPayload)
			case err != nil || n < 0:
				return 0, errors.New("want a size such as 64B or 2KiB")
			}
			return n * u.factor, nil
		}
	}
	return 0, errors.New("want a size such as 64B or 2KiB")
}

// ParseLimit reads the limit of an expectation: a time such as 5s, a share
// such as 95%, or a plain number. Value is in seconds, a fraction, or as it is.
func ParseLimit(text string) (Limit, error) {
	switch {
	case durationForm.MatchString(text):
		d, err := parseDuration(text)
		return Limit{Text: text, Unit: "s", Value: d.Seconds()}, err
	case strings.HasSuffix(text, "%"):
		v, err := parseShare(text)
		return Limit{Text: text, Unit: "%", Value: v}, err
	case numberForm.MatchString(text):
		v, err := strconv.ParseFloat(text, 64)
		if err == nil && !math.IsInf(v, 0) {
			return Limit{Text: text, Value: v}, nil
		}
	}
	return Limit{}, errors.New("want a time such as 5s, a share such as 95%, or a number")
}

// String is the limit as written.
func (l Limit) String() string { return l.Text }

// MarshalYAML writes the limit as it was written.
func (l Limit) MarshalYAML() (any, error) { return l.Text, nil }

// UnmarshalYAML reads what MarshalYAML wrote.
func (l *Limit) UnmarshalYAML(n *yaml.Node) error {
	v, err := ParseLimit(n.Value)
	if err != nil {
		return fmt.Errorf("line %d: limit %q: %w", n.Line, n.Value, err)
	}
	*l = v
	return nil
}

// FormatShare writes a fraction as a share, such as 95%.
func FormatShare(fraction float64) string {
	return strconv.FormatFloat(fraction*100, 'g', 10, 64) + "%"
}

// FormatRate writes a number per second as a rate, such as 500/s.
func FormatRate(perSecond float64) string {
	return strconv.FormatFloat(perSecond, 'g', 10, 64) + "/s"
}
