// Package templates fills operators' templates with what is known of one machine, and is there because text/template alone
// is no place for text that many people write: it would let a template print gigabytes, loop for ever, or give a machine
// an empty password because a name was misspelt.
//
// A template is Go's text/template with the data of Data, the functions of Functions and without those that cost more than
// they help. Values are data: a value that holds {{ is written as it is and never run. A name that is not there ends the
// template with a sentence. What a template may do is bounded in output, in text that its functions make, in steps and in
// time: every loop and every template that is called counts its steps, so that a runaway one is ended and not abandoned.
//
// The package never reads a file, the network or a clock other than the one that bounds it.
package templates
