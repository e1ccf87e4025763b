//! A stream of bytes as records: the lines of NDJSON, or the elements of a JSON array. Memory is that of one record.

/// One record of an import.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Counted from 1: of lines their number, of an array the element's
    pub(super) number: u64,
    /// Its text; none where it is longer than allowed
    pub(super) text: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Nothing but blanks so far
    Unknown,
    Lines,
    /// Between `[` and `]`
    Array {
        depth: usize,
        string: bool,
        escaped: bool,
    },
}

/// Takes bytes in, gives records out.
#[derive(Debug)]
pub(super) struct Records {
    form: Form,
    /// The record that is not complete yet
    begun: Vec<u8>,
    /// It is too long: the rest of it is passed over
    skipping: bool,
    longest: usize,
    number: u64,
}

impl Records {
    pub(super) fn new(longest: usize) -> Records {
        Records { form: Form::Unknown, begun: Vec::new(), skipping: false, longest, number: 0 }
    }

    /// The records that are complete with these bytes.
    pub(super) fn take(&mut self, mut bytes: &[u8], records: &mut Vec<Record>) {
        if self.form == Form::Unknown {
            // Blank lines before the first record are lines, too.
            let Some(first) = bytes.iter().position(|byte| !byte.is_ascii_whitespace()) else {
                self.number += count_lines(bytes);
                return;
            };
            if bytes[first] == b'[' {
                self.form = Form::Array { depth: 0, string: false, escaped: false };
                self.number = 0;
                bytes = &bytes[first + 1..];
            } else {
                self.form = Form::Lines;
                self.number += count_lines(&bytes[..first]);
                bytes = &bytes[first..];
            }
        }
        match self.form {
            Form::Lines => {
                while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
                    self.put(&bytes[..end]);
                    self.end(records);
                    bytes = &bytes[end + 1..];
                }
                self.put(bytes);
            }
            Form::Array { .. } => self.elements(bytes, records),
            Form::Unknown => {}
        }
    }

    /// What is left when the stream has ended.
    pub(super) fn finish(&mut self, records: &mut Vec<Record>) {
        if self.skipping || !self.begun.trim_ascii().is_empty() {
            self.end(records);
        }
    }

    fn elements(&mut self, bytes: &[u8], records: &mut Vec<Record>) {
        let Form::Array { mut depth, mut string, mut escaped } = self.form else { return };
        let mut from = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if string {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => string = true,
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth > 0 => depth -= 1,
                // Between two elements, or behind the last one.
                b',' | b']' if depth == 0 => {
                    self.put(&bytes[from..at]);
                    if self.skipping || !self.begun.trim_ascii().is_empty() {
                        self.end(records);
                    }
                    self.begun.clear();
                    from = at + 1;
                }
                _ => {}
            }
        }
        self.put(&bytes[from..]);
        self.form = Form::Array { depth, string, escaped };
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.skipping || self.begun.len() + bytes.len() > self.longest {
            self.skipping = true;
            self.begun = Vec::new();
        } else {
            self.begun.extend_from_slice(bytes);
        }
    }

    fn end(&mut self, records: &mut Vec<Record>) {
        self.number += 1;
        let text = std::mem::take(&mut self.begun);
        let text = (!std::mem::take(&mut self.skipping)).then_some(text);
        records.push(Record { number: self.number, text });
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// (number, text) of all records, the text in pieces of this size.
    fn read(text: &str, piece: usize, longest: usize) -> Vec<(u64, Option<String>)> {
        let (mut reader, mut records) = (Records::new(longest), Vec::new());
        text.as_bytes().chunks(piece.max(1)).for_each(|piece| reader.take(piece, &mut records));
        reader.finish(&mut records);
        let text = |record: Record| record.text.map(|text| String::from_utf8(text).unwrap().trim().to_owned());
        records.into_iter().map(|record| (record.number, text(record))).collect()
    }

    fn some(records: &[(u64, &str)]) -> Vec<(u64, Option<String>)> {
        records.iter().map(|(number, text)| (*number, Some((*text).to_owned()))).collect()
    }

    #[test]
    fn lines_keep_their_numbers() {
        for piece in [1, 3, 100] {
            assert_eq!(
                read("\n {\"a\":1}\nbroken\n\n{\"b\":\"[,]\"}", piece, 99),
                some(&[(2, "{\"a\":1}"), (3, "broken"), (4, ""), (5, "{\"b\":\"[,]\"}")])
            );
        }
        assert_eq!(read("\n\n", 1, 9), []);
    }

    #[test]
    fn an_array_is_its_elements_however_it_is_written() {
        let text = "\n[ {\"a\":[1,{\"x\":\"]}\\\"\"}]} ,\n{},3 ]\n";
        for piece in [1, 2, 7, 100] {
            assert_eq!(read(text, piece, 99), some(&[(1, "{\"a\":[1,{\"x\":\"]}\\\"\"}]}"), (2, "{}"), (3, "3")]), "{piece}");
        }
        assert_eq!(read("[]", 1, 9), []);
    }

    #[test]
    fn what_is_too_long_is_passed_over_alone() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(50));
        for piece in [1, 7, 1000] {
            assert_eq!(
                read(&format!("{{}}\n{long}\n{{\"b\":1}}\n"), piece, 20),
                [(1, Some("{}".into())), (2, None), (3, Some("{\"b\":1}".into()))]
            );
            assert_eq!(
                read(&format!("[{{}},{long},{{\"b\":1}}]"), piece, 20),
                [(1, Some("{}".into())), (2, None), (3, Some("{\"b\":1}".into()))]
            );
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(objects in proptest::collection::vec("[a\"\\\\{}\\[\\], ]{0,6}", 0..8), piece in 1..9usize) {
            let texts: Vec<String> = objects.iter().map(|text| serde_json::json!({"t": text}).to_string()).collect();
            let expected: Vec<_> = texts.iter().enumerate().map(|(at, text)| (at as u64 + 1, Some(text.clone()))).collect();
            prop_assert_eq!(read(&texts.join("\n"), piece, 999), expected.clone());
            prop_assert_eq!(read(&format!("[{}]", texts.join(",")), piece, 999), expected);
        }

        #[test]
        fn nothing_breaks_it(bytes: Vec<u8>) {
            let mut records = Vec::new();
            let mut reader = Records::new(8);
            bytes.chunks(3).for_each(|piece| reader.take(piece, &mut records));
            reader.finish(&mut records);
            prop_assert!(records.iter().all(|record| record.text.as_ref().is_none_or(|text| text.len() <= 8)));
        }
    }
}
