-- Attempts of clients that come without an edge, by keyed hashes of what they are counted by.
CREATE TABLE attempt_buckets (
  key BYTEA NOT NULL PRIMARY KEY,
  attempts BIGINT NOT NULL,
  wrong BIGINT NOT NULL,
  attempts_of_all BIGINT NOT NULL,
  all_outcomes BIGINT NOT NULL,
  window_s BIGINT NOT NULL,
  full_at BIGINT NOT NULL
);
CREATE INDEX attempt_buckets_by_full ON attempt_buckets (full_at);
