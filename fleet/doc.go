// Package fleet says what an Intent means: which machine something that boots is, what it boots and with which
// configuration, what is wrong with a description, and what would change with another one.
//
// It exists so that the coordinator that takes an intent, the edge that answers machines from the last one it saw, and the
// command that shows people a difference all go by the same rules:
//
//   - A machine is known by a MAC address that it has, and when nobody has that address, by its SMBIOS UUID. Neither is a
//     credential: whoever can send packets can claim both.
//   - A group selects the machines that have all labels of its selector. A machine takes values, templates, keys and
//     command lines from all groups that select it; where two have the same, the group of higher priority decides, and the
//     machine's own come before any group's. The release is that of the highest group that names one.
//   - boot_once comes before everything, local_disk before the release of groups.
//   - Something that no machine is gets what the groups with "unknown: true" give, whatever their selectors.
//
// Parse reads the files that people keep such descriptions in (machines.yml), strictly and with file and line for each
// fault. Diff compares two intents and never shows a secret.
//
// The package is pure: no clock, no network, and no file but those of the fs.FS that a caller hands to Parse.
package fleet
