-- The tables as their objects should be: names, instants in UTC, bytes in base64, JSON taken in, points as GeoJSON.
CREATE FUNCTION instant(at timestamp) RETURNS text IMMUTABLE LANGUAGE sql AS
  $$ SELECT to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS') || rtrim(rtrim(to_char(at, '.US'), '0'), '.') || 'Z' $$;
CREATE FUNCTION of_day(at time) RETURNS text IMMUTABLE LANGUAGE sql AS
  $$ SELECT to_char(at, 'HH24:MI:SS') || rtrim(rtrim(to_char(at, '.US'), '0'), '.') || 'Z' $$;
CREATE VIEW kinds_expected AS SELECT
  '/db/@/' || id AS "@", id AS id_, a_small, a_big, a_real, a_double, a_decimal, a_numeric, a_percentage, a_price::numeric AS a_price, a_flag,
  a_text, a_varchar, a_char, a_mood, a_uuid, a_json::jsonb AS a_json, a_jsonb, encode(a_bytea, 'base64') AS a_bytea, a_bit = B'1' AS a_bit,
  -- The lowest byte first, as many as are needed.
  encode(trim(TRAILING '\x00' FROM set_byte(set_byte('\x0000', 0, some_bits::int & 255), 1, some_bits::int >> 8)), 'base64') AS some_bits,
  a_date, of_day(a_time) AS a_time, of_day(a_time_milli) AS a_time_milli, of_day((a_timetz AT TIME ZONE 'UTC')::time) AS a_timetz,
  instant(a_stamp) AS a_stamp, instant(a_stamp_milli) AS a_stamp_milli, instant(a_stamptz AT TIME ZONE 'UTC') AS a_stamptz,
  (extract(epoch FROM an_interval) * 1000000)::bigint AS an_interval, an_inet, a_cidr, a_macaddr,
  CASE WHEN a_point IS NOT NULL THEN jsonb_build_object('type', 'Point', 'coordinates', jsonb_build_array(a_point[0], a_point[1])) END AS a_point,
  a_range, an_xml::text AS an_xml, some_ints, some_texts, some_decimals, some_dates,
  (SELECT array_agg(instant(at AT TIME ZONE 'UTC')) FROM unnest(some_stamps) AS at) AS some_stamps, some_uuids, some_flags
FROM kinds;

-- A key of several parts: in the key's order, `~` between, `!` before what would be mistaken.
CREATE VIEW lines_expected AS SELECT
  '/db/@/' || number || '~' || replace(replace(region, '!', '!!'), '~', '!~') AS "@", region, product, number, amount FROM lines;

CREATE VIEW papers_expected AS SELECT
  '/db/@/' || id AS "@", id AS id_, title, body, encode(data, 'base64') AS data, details, words, counts FROM papers;

CREATE VIEW full_images_expected AS SELECT '/db/@/' || id AS "@", id AS id_, name, body FROM full_images;
