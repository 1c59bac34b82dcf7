-- What is to be told to people, until it has been. The text is sealed.
CREATE TABLE notices (
  id TEXT NOT NULL PRIMARY KEY,
  sealed_text BYTEA NOT NULL,
  created_at BIGINT NOT NULL,
  next_at BIGINT NOT NULL,
  tries BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX notices_by_turn ON notices (next_at);
