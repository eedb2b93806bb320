package measure

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The limits of a health file: about 12 days of rows, and a row with its three
// histograms.
const (
	maxHealthRows = 1 << 20
	maxHealthLine = 3*maxEncoded + 4096
)

// HealthWriter writes health.csv row by row, each in one write, so that a file
// of a killed run is whole up to its last line. It is for one goroutine at a
// time.
type HealthWriter struct {
	w       io.Writer
	columns []HealthColumn
	line    []byte
}

// NewHealthWriter writes the head of the file.
func NewHealthWriter(w io.Writer) (*HealthWriter, error) {
	if _, err := io.WriteString(w, healthHead()+"\n"); err != nil {
		return nil, fmt.Errorf("write the head of the health file: %w", err)
	}
	return &HealthWriter{w: w, columns: HealthColumns()}, nil
}

func healthHead() string {
	var names []string
	for _, c := range HealthColumns() {
		names = append(names, c.Name)
	}
	return strings.Join(names, ",")
}

// Write appends one row. A row that ReadHealth would refuse is refused.
func (hw *HealthWriter) Write(row HealthRow) error {
	hw.line = hw.line[:0]
	var again HealthRow
	for i, c := range hw.columns {
		cell := c.get(&row)
		if err := c.set(&again, cell); err != nil {
			return fmt.Errorf("health row at %d ns: %s: %w", row.Start, c.Name, err)
		}
		if i > 0 {
			hw.line = append(hw.line, ',')
		}
		hw.line = append(hw.line, cell...)
	}
	if _, err := hw.w.Write(append(hw.line, '\n')); err != nil {
		return fmt.Errorf("write a health row: %w", err)
	}
	return nil
}

// WriteHealth writes a whole health.csv.
func WriteHealth(w io.Writer, rows []HealthRow) error {
	hw, err := NewHealthWriter(w)
	for i := 0; err == nil && i < len(rows); i++ {
		err = hw.Write(rows[i])
	}
	return err
}

// ReadHealth reads a health.csv. It refuses unknown or missing columns, odd
// cells and rows out of order with ErrHealth and the line's number. When the
// last line is unfinished, the file of a killed run, it gives the rows before
// it together with ErrTruncated. The histograms are decoded by MergeHealth.
func ReadHealth(r io.Reader) ([]HealthRow, error) {
	lines := bufio.NewReaderSize(r, 64<<10)
	head, err := readLine(lines)
	switch want := healthHead(); {
	case errors.Is(err, ErrTruncated) && strings.HasPrefix(want, head):
		return nil, fmt.Errorf("health file, line 1: %w", err)
	case err != nil && !errors.Is(err, ErrTruncated) && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("health file, line 1: %w", err)
	case head != want || err != nil:
		return nil, fmt.Errorf("%w: its head is not that of this version", ErrHealth)
	}
	columns := HealthColumns()
	var rows []HealthRow
	for n := 2; ; n++ {
		line, err := readLine(lines)
		switch {
		case errors.Is(err, io.EOF):
			return rows, nil
		case errors.Is(err, ErrTruncated):
			return rows, fmt.Errorf("health file, line %d: %w", n, err)
		case err != nil:
			return nil, fmt.Errorf("health file, line %d: %w", n, err)
		case len(rows) == maxHealthRows:
			return nil, fmt.Errorf("%w: more than %d rows", ErrHealth, maxHealthRows)
		}
		row, err := parseHealth(columns, line)
		if err == nil && len(rows) > 0 && row.Start < rows[len(rows)-1].End {
			err = errors.New("starts before the row above it ends")
		}
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrHealth, n, err)
		}
		rows = append(rows, row)
	}
}

// readLine gives a line without its end; ErrTruncated where the end is missing,
// io.EOF at the end of the file.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > maxHealthLine {
			return "", fmt.Errorf("%w: longer than %d bytes", ErrHealth, maxHealthLine)
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return string(line[:len(line)-1]), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0:
			return string(line), ErrTruncated
		default:
			return "", err
		}
	}
}

func parseHealth(columns []HealthColumn, line string) (HealthRow, error) {
	var row HealthRow
	cells := strings.Split(line, ",")
	if len(cells) != len(columns) {
		return row, fmt.Errorf("%d cells, want %d", len(cells), len(columns))
	}
	for i, c := range columns {
		if err := c.set(&row, cells[i]); err != nil {
			return row, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	if row.End < row.Start {
		return row, errors.New("ends before it starts")
	}
	return row, nil
}
