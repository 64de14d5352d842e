//! `README.txt`: what an export is, and how to check it.

/// The text.
pub(super) const README: &str = "\
This is an export of the journal of a Greffe chat server.

report.html      what was ordered, to be read and printed
messages.jsonl   the same, for programs: one JSON object a line
files/           the files that were shared, each under the SHA-256 of its bytes
rows.pb          the rows of the journal that all of it was made from
tree             hashes that make these rows the tree of the checkpoint
checkpoint       what the journal was: its size and the root of its tree, signed
keys             the keys that sign, oldest first
sizes            sizes of older checkpoints that this export can be compared with
people.jsonl, rooms.jsonl   names, on the server's word
manifest         what is in all these files, signed

How to check it with a program, without the server and without a network:

  greffe-admin verify DIRECTORY --checkpoint AN-OLDER-CHECKPOINT
  python3 greffe_verify.py DIRECTORY --checkpoint AN-OLDER-CHECKPOINT

The two were written independently of each other; the second one is a single file. Both say what is proved, and name the first place that is not as
it has to be. The most that a check can tell it tells if you have a checkpoint of this journal that somebody kept who could not be asked to change it.
Both take `--key`, too: the key that signs, from a source that you trust.

How to check it by hand: the page RECORD-FORMAT.md of Greffe's sources describes every file to the byte, and names the standards: RFC 6962 and RFC 9162
for the tree, C2SP signed-note and tlog-checkpoint for checkpoints, Ed25519 and SHA-256. `sha256sum` on a file of files/ has to give its name.
";
