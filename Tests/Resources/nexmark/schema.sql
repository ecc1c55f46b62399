-- NEXMark's events as a table each; the schema is on the search path.
create unlogged table person (
  id bigint, name text, email_address text, credit_card text, city text, state text, date_time timestamptz, extra text);
create unlogged table auction (
  id bigint, item_name text, description text, initial_bid bigint, reserve bigint, date_time timestamptz,
  expires timestamptz, seller bigint, category bigint, extra text);
create unlogged table bid (
  auction bigint, bidder bigint, price bigint, channel text, url text, date_time timestamptz, extra text);
