// Package denylist keeps lists of address ranges that are refused, in files that other programs replace
// while the server runs. It knows neither HTTP servers nor keys.
//
// # Forms
//
// A file has one entry per line, in one of three forms, told apart by the first line that is not blank:
//   - plain: an address or a CIDR prefix, and perhaps a comment behind # or ;;
//   - the text of Spamhaus DROP, which is such a file: "1.10.16.0/20 ; SBL256894";
//   - the JSON lines of Spamhaus DROP: {"cidr":"1.10.16.0/20", …}, and at the end
//     {"type":"metadata","records":1, …}.
//
// Entries mean what they mean in the address lists of keys, see [keyring.ParseAddr]: an IPv4 address that
// is mapped into IPv6 is the IPv4 address; host bits and zones are refused.
//
// # Nothing by halves
//
// A file is taken as a whole or not at all, since a list that lost entries lets in whom it should keep
// out. [Parse] refuses a file with one line that it cannot read, a text whose last line does not end, and
// JSON lines without the count at their end. What no parser can tell, a text that was cut off between two
// lines, [File] tells by comparison: a list that is suddenly empty, or less than half of what it was, does
// not replace the one that is in force.
//
// # Looking instead of watching
//
// A [File] is looked at again and again, by its size, its time and its identity, and read once two looks in
// a row saw the same. Notifications of the kernel would be faster by a second, but they are lost on network
// file systems and bind mounts, end when the file is replaced by another, miss a symbolic link that is
// turned elsewhere (as Kubernetes does), and say nothing about when a writer is done.
//
// # Bounds
//
// [MaxEntries], [MaxFileSize] and [MaxLine] bound what is read. A million prefixes of mixed lengths take
// about 56 MB. The new list is built beside the old one and takes its place in one step; looking an address
// up never waits, and does not allocate.
package denylist
