-- What the recorded session does; each case begins with a line `-- case: NAME`.
-- case: before the snapshot
INSERT INTO kinds (id, a_text, a_decimal, a_date) VALUES (1, 'was there', 12.50, '2024-02-29'), (2, NULL, NULL, NULL);
INSERT INTO lines VALUES ('north', 'apples', 1, 10), ('south', 'pears', 1, 20);
INSERT INTO papers VALUES ('00000000-0000-0000-0000-000000000001', 'first', repeat('long ', 120), decode(repeat('00ff', 300), 'hex'),
  jsonb_build_object('note', repeat('deep ', 120)), array_fill('word'::text, ARRAY[80]), array_fill(7, ARRAY[160]));
INSERT INTO named VALUES ('a', 'everybody', 7, '2001-02-03 04:05:06+00', '2002-03-04 05:06:07.891+00', 'under');
INSERT INTO full_images VALUES (1, 'whole', repeat('row ', 600));
INSERT INTO keyless VALUES ('nobody', 1);
-- case: insert of every type
INSERT INTO kinds VALUES (10, -32768, 9223372036854775807, 1.5, 0.1, 1234567890.12, 123456789012345678901234567890.123456789, 99.95,
  '1234.56', true, E'line\n"quoted" \\ ü 漢 😀', 'short', 'pad', 'on fire', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  '{"b": 1, "a": [true, null]}', '{"b": 1, "a": [true, null]}', '\xdeadbeef00', B'1', B'101010101011', '2024-02-29',
  '13:14:15.123456', '13:14:15.123', '13:14:15.5+02', '2024-02-29 13:14:15.123456', '2024-02-29 13:14:15.123',
  '2024-02-29 13:14:15.123456+02', '1 year 2 months 3 days 04:05:06.7', '192.168.0.1/24', '10.0.0.0/8', '08:00:2b:01:02:03', '(1.5,-2)',
  '[1,10)', '<a>b</a>', '{1,NULL,3}', '{"a","b c",NULL}', '{1.10,2.25}', '{2024-01-01,1969-12-31}', '{2024-02-29 13:14:15+00}',
  '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', '{t,f}');
-- case: insert of extremes
INSERT INTO kinds (id, a_small, a_big, a_real, a_double, a_decimal, a_numeric, a_date, a_time, a_stamp, a_stamptz, some_ints, some_texts)
  VALUES (11, 32767, -9223372036854775808, 'NaN', 'Infinity', -0.01, -1e-20, '0001-01-01', '24:00:00', '1969-12-31 23:59:59.999999',
  '9999-12-31 23:59:59.999999+00', '{}', '{}');
-- case: insert of what no calendar has
INSERT INTO kinds (id, a_numeric, a_date, a_stamp, a_stamptz) VALUES
  (12, 'NaN', 'infinity', 'infinity', '-infinity'), (13, 'Infinity', '4713-01-01 BC', '0044-03-15 12:00:00 BC', '10000-01-01 00:00:00+00');
-- case: update
UPDATE kinds SET a_text = 'changed', a_decimal = 13.00 WHERE id = 1;
-- case: update that changes nothing
UPDATE kinds SET a_text = a_text WHERE id = 1;
-- case: update of two rows in one transaction
UPDATE kinds SET a_flag = true WHERE id IN (1, 2);
-- case: update of a row with large values that stay
UPDATE papers SET title = 'second' WHERE title = 'first';
-- case: update of one large value
UPDATE papers SET body = repeat('other ', 100) WHERE title = 'second';
-- case: update of a row with large values, whole images
UPDATE full_images SET name = 'half' WHERE id = 1;
-- case: delete
DELETE FROM kinds WHERE id = 2;
-- case: delete of a composite key
DELETE FROM lines WHERE region = 'south';
-- case: primary key change
UPDATE kinds SET id = 20 WHERE id = 10;
-- case: change of a part of a composite key
UPDATE lines SET region = 'east', amount = 11 WHERE region = 'north';
-- case: primary key change of a row with large values
UPDATE papers SET id = '00000000-0000-0000-0000-000000000002' WHERE title = 'second';
-- case: names like ours
UPDATE named SET version = version + 1, acl = NULL WHERE id = 'a';
-- case: no key
INSERT INTO keyless VALUES ('again', 2);
UPDATE keyless SET n = 3 WHERE name = 'again';
DELETE FROM keyless WHERE name = 'again';
-- case: insert, update and delete in one transaction
BEGIN; INSERT INTO lines VALUES ('west', 'plums', 5, 1); UPDATE lines SET amount = 2 WHERE number = 5; DELETE FROM lines WHERE number = 5; COMMIT;
-- case: delete and insert of the same key in one transaction
BEGIN; DELETE FROM lines WHERE region = 'east'; INSERT INTO lines VALUES ('east', 'nuts', 1, 99); COMMIT;
-- case: a new column, and one that goes
ALTER TABLE lines ADD COLUMN note text DEFAULT 'none yet', DROP COLUMN product;
INSERT INTO lines (region, number, amount, note) VALUES ('west', 6, 3, 'with a note');
-- case: a column of another type
ALTER TABLE lines ALTER amount TYPE numeric(10, 2);
UPDATE lines SET amount = 3.25 WHERE number = 6;
-- case: message
SELECT pg_logical_emit_message(true, 'greeting', 'hello');
-- case: truncate
TRUNCATE lines;
-- case: insert after truncate
INSERT INTO lines VALUES ('new', 1, 1.5, 'fresh');
