package reports

import (
	"fmt"
	"io"
)

// percentileFiles makes a percentile text (.hgrm) of each tag, in ms for times
// and plain for counts. All that is ours stands after the library's own text:
// readers skip a fixed number of lines at the top.
func percentileFiles(r *Report) ([]NamedFile, error) {
	var files []NamedFile
	for _, s := range allSeries(r.Histograms) {
		if !tagRE.MatchString(s.Tag()) {
			return nil, fmt.Errorf("%w: %q", ErrTag, s.Tag())
		}
		files = append(files, NamedFile{
			Name:  s.Tag() + ".hgrm",
			Write: func(w io.Writer) error { return writePercentiles(w, r, s) },
		})
	}
	return files, nil
}

func writePercentiles(w io.Writer, r *Report, s series) error {
	h, err := s.merged()
	if err != nil {
		return err
	}
	unit, ratio := "ms", 1e6
	if s.Unit == unitCount {
		unit, ratio = "count", 1
	}
	if _, err := h.PercentilesPrint(w, 5, ratio); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "#[Unit    = %12s, Above range    = %12d]\n#[Censored clients of phase %s = %d]\n",
		unit, s.Overflow, s.Phase, s.Censored)
	return err
}
