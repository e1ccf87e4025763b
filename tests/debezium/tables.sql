-- Tables with every type that a column of an ordinary application may have, and keys of every shape.
CREATE TYPE mood AS ENUM ('calm', 'busy', 'on fire');
CREATE DOMAIN percentage AS numeric(5, 2) CHECK (VALUE BETWEEN 0 AND 100);

CREATE TABLE kinds (
  id            int PRIMARY KEY,
  a_small       smallint,
  a_big         bigint,
  a_real        real,
  a_double      double precision,
  a_decimal     numeric(12, 2),
  a_numeric     numeric,
  a_percentage  percentage,
  a_price       money,
  a_flag        boolean,
  a_text        text,
  a_varchar     varchar(40),
  a_char        char(6),
  a_mood        mood,
  a_uuid        uuid,
  a_json        json,
  a_jsonb       jsonb,
  a_bytea       bytea,
  a_bit         bit(1),
  some_bits     bit(12),
  a_date        date,
  a_time        time,
  a_time_milli  time(3),
  a_timetz      timetz,
  a_stamp       timestamp,
  a_stamp_milli timestamp(3),
  a_stamptz     timestamptz,
  an_interval   interval,
  an_inet       inet,
  a_cidr        cidr,
  a_macaddr     macaddr,
  a_point       point,
  a_range       int4range,
  an_xml        xml,
  some_ints     int[],
  some_texts    text[],
  some_decimals numeric(8, 2)[],
  some_dates    date[],
  some_stamps   timestamptz[],
  some_uuids    uuid[],
  some_flags    boolean[]
);

-- The key's order is not the columns' order.
CREATE TABLE lines (
  region  text NOT NULL,
  product text,
  number  bigint NOT NULL,
  amount  int,
  PRIMARY KEY (number, region)
);

-- Large values are stored apart, and an update that leaves them alone does not send them.
CREATE TABLE papers (
  id      uuid PRIMARY KEY,
  title   text,
  body    text,
  data    bytea,
  details jsonb,
  words   text[],
  counts  int[]
) WITH (toast_tuple_target = 128);
ALTER TABLE papers ALTER body SET STORAGE EXTERNAL, ALTER data SET STORAGE EXTERNAL, ALTER details SET STORAGE EXTERNAL,
  ALTER words SET STORAGE EXTERNAL, ALTER counts SET STORAGE EXTERNAL;

-- Names that an object of Tidegate has for itself.
CREATE TABLE named (
  id          text PRIMARY KEY,
  acl         text,
  version     int,
  "createdAt" timestamptz,
  "updatedAt" timestamptz,
  "_id"       text
);

CREATE TABLE full_images (id int PRIMARY KEY, name text, body text);
ALTER TABLE full_images REPLICA IDENTITY FULL, ALTER body SET STORAGE EXTERNAL;

CREATE TABLE keyless (name text, n int);
ALTER TABLE keyless REPLICA IDENTITY FULL;
