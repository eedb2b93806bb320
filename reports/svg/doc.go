// Package svg draws the charts of report.html as SVG text: lines, areas and
// points over two axes, and rows of spans. What it draws is read without a
// script; colours, dashes and patterns come from the style sheet of the page by
// the classes s1 to s9 (strokes) and f1 to f9 (fills).
//
// In: numbers with axes that say how to write them. Out: one svg element with a
// title and a description. It imports nothing of this module and knows nothing
// of reports. All text is escaped here.
package svg
