// Package verity makes dm-verity hash trees, with which Linux checks each block of a read-only filesystem when it reads
// it: whoever trusts the root hash, because it is in a signed kernel command line, need not trust the disk.
//
// A Writer takes the filesystem's bytes as they pass and ends with the tree: what `veritysetup format` writes, to the
// byte, for the same salt and UUID. The form is that of Linux Documentation/admin-guide/device-mapper/verity.rst and of
// cryptsetup's superblock (its wiki, DMVerity): SHA-256, blocks of 4096 bytes of data and of hashes, the salt before each
// block.
//
// Hashes of data go to a blob as they are made, those above them (a 128th) are kept until the end. Nothing here verifies.
package verity
