// Package report shows people what a farm and its builds look like: tables and pages of text.
//
// Everything here is a pure function from what the API answered to lines, told the time and the colours by its
// caller, so that it is tested by comparing text. Text that came from elsewhere (names, labels, reasons) is cleaned of
// control characters before it reaches a terminal. The package asks nobody anything and prints nothing itself.
package report
