package reports

// Baseline is a copy of r without what compare does not read: what only the
// page of the run itself draws, and the examples of its losses.
func Baseline(r *Report) *Report {
	c := *r
	c.Charts, c.LossExamples, c.Losses, c.Recovery = nil, nil, nil, nil
	return &c
}
