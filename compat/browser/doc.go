// Package browser opens the pages of Rebound in Chromium as a reader would:
// from disk, without a network, in both themes, with JavaScript and without.
// It has tests only.
package browser
