-- Which tokens have a place in a status list. A number is used once in an epoch of the feed: a restored database has another.
CREATE TABLE token_statuses (
  number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  epoch TEXT NOT NULL,
  jti TEXT NOT NULL,
  kid TEXT NOT NULL,
  sid TEXT,
  account_id TEXT,
  generation INTEGER,
  key_id TEXT,
  grant_id TEXT,
  appointment_id TEXT,
  until_s INTEGER NOT NULL
) STRICT;
CREATE INDEX token_statuses_by_death ON token_statuses (until_s);
