-- What is to be told to people, until it has been. The text is sealed.
CREATE TABLE notices (
  id TEXT NOT NULL PRIMARY KEY,
  sealed_text BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  next_at INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX notices_by_turn ON notices (next_at);
