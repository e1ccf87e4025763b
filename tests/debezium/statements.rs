//! Random statements of SQL on the tables of `tables.sql`: inserts, updates, deletes, changed keys, truncates, alone and
//! several in a transaction.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Makes them.
pub struct Statements {
    rng: StdRng,
}

/// Values of each column of `kinds`, as SQL. `a_numeric` has no NaN: Debezium sends null for it.
const KINDS: &[(&str, &[&str])] = &[
    ("a_small", &["0", "-32768", "32767"]),
    ("a_big", &["1", "9007199254740993", "-9223372036854775808", "9223372036854775807"]),
    ("a_real", &["1.5", "-0.25", "1e30", "'NaN'", "'-Infinity'"]),
    ("a_double", &["0.1", "-2.5e-300", "123456.75", "'Infinity'"]),
    ("a_decimal", &["0", "-0.01", "1234567890.12", "99.90"]),
    ("a_numeric", &["7", "1.50", "-1e-12", "123456789012345678901234567890.5"]),
    ("a_percentage", &["0", "99.95", "100"]),
    ("a_price", &["'1234.56'", "'-0.5'"]),
    ("a_flag", &["true", "false"]),
    ("a_text", &["''", "'plain'", "E'line\\n\"quoted\" \\\\ tab\\t'", "'ü 漢 😀'", "'__debezium'", "repeat('wide ', 900)"]),
    ("a_varchar", &["'short'", "' '"]),
    ("a_char", &["'pad'", "'sixsix'"]),
    ("a_mood", &["'calm'", "'busy'", "'on fire'"]),
    ("a_uuid", &["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'00000000-0000-0000-0000-000000000000'"]),
    ("a_json", &["'{\"b\": 1, \"a\": [true, null]}'", "'[]'", "'\"text\"'", "'17.25'"]),
    ("a_jsonb", &["'{\"deep\": {\"er\": [{\"x\": 1}]}}'", "'{}'", "'[1, \"two\"]'", "'false'"]),
    ("a_bytea", &["'\\x'", "'\\xdeadbeef00'"]),
    ("a_bit", &["B'0'", "B'1'"]),
    ("some_bits", &["B'101010101011'", "B'000000000001'"]),
    ("a_date", &["'2024-02-29'", "'1969-12-31'", "'0001-01-01'", "'9999-12-31'"]),
    ("a_time", &["'00:00'", "'13:14:15.123456'", "'23:59:59.9'"]),
    ("a_time_milli", &["'13:14:15.123'", "'00:00:00.001'"]),
    ("a_timetz", &["'13:14:15.5+02'", "'12:00Z'"]),
    ("a_stamp", &["'2024-02-29 13:14:15.123456'", "'1969-12-31 23:59:59.999999'", "'2000-01-01'"]),
    ("a_stamp_milli", &["'2024-02-29 13:14:15.12'", "'1900-01-01 00:00:00.001'"]),
    ("a_stamptz", &["'2024-02-29 13:14:15.123456+02'", "'1960-06-15 12:00Z'", "'2038-01-19 03:14:08.5Z'"]),
    ("an_interval", &["'3 days 04:05:06.7'", "'-1 hour'", "'0'"]),
    ("an_inet", &["'192.168.0.1/24'", "'::1'"]),
    ("a_cidr", &["'10.0.0.0/8'"]),
    ("a_macaddr", &["'08:00:2b:01:02:03'"]),
    ("a_point", &["'(1.5,-2)'", "'(0,0)'"]),
    ("a_range", &["'[1,10)'", "'empty'", "'(,5)'"]),
    ("an_xml", &["'<a>b</a>'"]),
    ("some_ints", &["'{}'", "'{1,NULL,3}'"]),
    ("some_texts", &["'{}'", "'{\"a\",\"b c\",NULL,\"\"}'"]),
    ("some_decimals", &["'{1.10,-2.25}'"]),
    ("some_dates", &["'{2024-01-01,1969-12-31}'"]),
    ("some_stamps", &["'{2024-02-29 13:14:15.5+00}'"]),
    ("some_uuids", &["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"]),
    ("some_flags", &["'{t,NULL,f}'"]),
];

/// Large values, which are stored apart.
const PAPERS: &[(&str, &[&str])] = &[
    ("title", &["'first'", "'second'", "NULL"]),
    ("body", &["repeat('long ', 300)", "repeat('other ', 250)", "'short'"]),
    ("data", &["decode(repeat('00ff', 600), 'hex')", "'\\x01'"]),
    ("details", &["jsonb_build_object('note', repeat('deep ', 300))", "'{\"small\": true}'"]),
    ("words", &["array_fill('word'::text, ARRAY[300])", "'{\"few\"}'"]),
    ("counts", &["array_fill(7, ARRAY[400])", "'{1}'"]),
];

impl Statements {
    pub fn new(seed: u64) -> Statements {
        Statements { rng: StdRng::seed_from_u64(seed) }
    }

    /// So many statements, some of them in transactions of several.
    pub fn some(&mut self, count: usize) -> String {
        let mut text = String::new();
        let mut left = count;
        while left > 0 {
            let together = if self.chance(0.2) { self.rng.random_range(2..5) } else { 1 }.min(left);
            left -= together;
            let statements: Vec<String> = (0..together).map(|_| self.statement()).collect();
            match together {
                1 => text.push_str(&statements[0]),
                _ => text.push_str(&format!("BEGIN; {} {};", statements.join(" "), if self.chance(0.1) { "ROLLBACK" } else { "COMMIT" })),
            }
            text.push('\n');
        }
        text
    }

    fn chance(&mut self, of: f64) -> bool {
        self.rng.random_bool(of)
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from.choose(&mut self.rng).unwrap()
    }

    fn statement(&mut self) -> String {
        match self.rng.random_range(0..100) {
            0 => format!("TRUNCATE {};", self.pick(&["kinds", "lines", "papers", "full_images"])),
            1..50 => self.kinds(),
            50..70 => self.lines(),
            70..90 => self.papers(),
            _ => self.full_images(),
        }
    }

    /// Some columns with values.
    fn values(&mut self, columns: &'static [(&'static str, &'static [&'static str])], share: f64) -> Vec<(&'static str, &'static str)> {
        let mut chosen = Vec::new();
        for (name, values) in columns {
            if self.chance(share) {
                chosen.push((*name, if self.chance(0.15) { "NULL" } else { self.pick(values) }));
            }
        }
        chosen
    }

    fn kinds(&mut self) -> String {
        let id = self.rng.random_range(1..12);
        match self.rng.random_range(0..10) {
            0 | 1 => format!("DELETE FROM kinds WHERE id = {id};"),
            2 => {
                let new = self.rng.random_range(1..12);
                format!("UPDATE kinds SET id = {new} WHERE id = {id} AND NOT EXISTS (SELECT 1 FROM kinds WHERE id = {new});")
            }
            3..6 => upsert("kinds", &id.to_string(), &self.values(KINDS, 0.6)),
            _ => update("kinds", &format!("id = {id}"), &self.values(KINDS, 0.1)),
        }
    }

    fn lines(&mut self) -> String {
        let region = self.pick(&["'north'", "'so~uth'", "'!'"]);
        let (number, amount) = (self.rng.random_range(1..4), self.rng.random_range(0..1_000));
        match self.rng.random_range(0..6) {
            0 => format!("DELETE FROM lines WHERE region = {region};"),
            1 => {
                let new = self.rng.random_range(1..4);
                let taken = format!("SELECT 1 FROM lines WHERE region = {region} AND number = {new}");
                format!("UPDATE lines SET number = {new} WHERE region = {region} AND number = {number} AND NOT EXISTS ({taken});")
            }
            2 => format!("UPDATE lines SET amount = amount + 1 WHERE number = {number};"),
            _ => format!(
                "INSERT INTO lines VALUES ({region}, 'apples', {number}, {amount}) ON CONFLICT (number, region) DO UPDATE SET amount = {amount};"
            ),
        }
    }

    /// Keys stay: what the new key's record does not send, nobody has.
    fn papers(&mut self) -> String {
        let id = format!("'00000000-0000-0000-0000-00000000000{}'", self.rng.random_range(1..6));
        match self.rng.random_range(0..8) {
            0 => format!("DELETE FROM papers WHERE id = {id};"),
            1..4 => upsert("papers", &id, &self.values(PAPERS, 0.8)),
            _ => update("papers", &format!("id = {id}"), &self.values(PAPERS, 0.25)),
        }
    }

    /// Large values under keys that change: the table sends whole rows.
    fn full_images(&mut self) -> String {
        let (id, new) = (self.rng.random_range(1..5), self.rng.random_range(1..5));
        let body = self.pick(&["repeat('row ', 700)", "repeat('line ', 600)", "NULL"]);
        match self.rng.random_range(0..6) {
            0 => format!("DELETE FROM full_images WHERE id = {id};"),
            1 | 2 => {
                let free = format!("NOT EXISTS (SELECT 1 FROM full_images WHERE id = {new})");
                format!("UPDATE full_images SET id = {new}, name = 'moved' WHERE id = {id} AND {free};")
            }
            3 => format!("UPDATE full_images SET name = 'again' WHERE id = {id};"),
            _ => upsert("full_images", &id.to_string(), &[("name", "'new'"), ("body", body)]),
        }
    }
}

fn update(table: &str, of: &str, values: &[(&str, &str)]) -> String {
    if values.is_empty() {
        return format!("UPDATE {table} SET id = id WHERE {of};");
    }
    let sets: Vec<String> = values.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    format!("UPDATE {table} SET {} WHERE {of};", sets.join(", "))
}

fn upsert(table: &str, id: &str, values: &[(&str, &str)]) -> String {
    let names: String = values.iter().map(|(name, _)| format!(", {name}")).collect();
    let texts: String = values.iter().map(|(_, value)| format!(", {value}")).collect();
    let sets: Vec<String> = values.iter().map(|(name, _)| format!("{name} = excluded.{name}")).chain(["id = excluded.id".into()]).collect();
    format!("INSERT INTO {table} (id{names}) VALUES ({id}{texts}) ON CONFLICT (id) DO UPDATE SET {};", sets.join(", "))
}
