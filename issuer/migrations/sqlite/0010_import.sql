-- What an imported password's check costs, as a hash that nothing matches: every attempt at this merchant costs as much, so that time
-- does not tell who was imported and has not logged in yet.
ALTER TABLE merchants ADD COLUMN import_hash TEXT;
