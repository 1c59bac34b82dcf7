-- Attempts of clients that come without an edge, by keyed hashes of what they are counted by.
CREATE TABLE attempt_buckets (
  key BLOB NOT NULL PRIMARY KEY,
  attempts INTEGER NOT NULL,
  wrong INTEGER NOT NULL,
  attempts_of_all INTEGER NOT NULL,
  all_outcomes INTEGER NOT NULL,
  window_s INTEGER NOT NULL,
  full_at INTEGER NOT NULL
) STRICT;
CREATE INDEX attempt_buckets_by_full ON attempt_buckets (full_at);
