-- Where an edge takes endings that are pushed to it (RFC 8935); none = it pulls only.
ALTER TABLE edges ADD COLUMN push_url TEXT;

-- Pushes that were in vain, one row for each number at which an edge stopped taking them. It has the endings by its pull,
-- or will.
CREATE TABLE dead_letters (
  edge_id TEXT NOT NULL REFERENCES edges (id),
  from_seq BIGINT NOT NULL,
  to_seq BIGINT NOT NULL,
  at BIGINT NOT NULL,
  attempts BIGINT NOT NULL,
  error TEXT NOT NULL,
  PRIMARY KEY (edge_id, from_seq)
);
