//! Records that mean nothing for a bucket because something is wrong with them: kept with reason and origin.
//!
//! A letter is kept durably before the store passes its record, so none is lost; after a crash one may be kept twice, which
//! its partition and offset tell. The file of a topic is `ingest/<topic>.dead.jsonl` in the data directory, one letter a line;
//! when it is full it becomes `<topic>.dead.1.jsonl`, which replaces the one before. A topic for letters gets the record as it
//! was, with headers that say why; what a topic does not take goes to the file.

use super::apply::moment;
use super::wait::Stop;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::BoxFuture;
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::future_producer::OwnedDeliveryResult;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a file before it is put aside: a topic's letters take twice that at most.
const FILE_BYTES: u64 = 64 << 20;
/// Bytes of a key, a value or all headers that are kept; the rest is in the source as long as that keeps it.
const LARGEST: usize = 256 << 10;
/// A record with what is wrong with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) topic: String,
    pub(crate) bucket: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// The record's own time, milliseconds since 1970
    pub(crate) timestamp: Option<i64>,
    /// Stable name of what is wrong
    pub(crate) code: String,
    /// What is wrong, for people
    pub(crate) reason: String,
    pub(crate) key: Option<Content>,
    pub(crate) value: Option<Content>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) headers: Vec<(String, Option<Content>)>,
    /// Whether something was too large to be kept: the whole is in the source
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cut: bool,
    /// When it became one
    pub(crate) at: String,
}

impl Letter {
    /// What it takes to keep it.
    pub(crate) fn bytes(&self) -> usize {
        let content = |content: &Option<Content>| content.as_ref().map_or(0, Content::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + content(value)).sum();
        headers + content(&self.key) + content(&self.value) + self.reason.len()
    }
}

/// Bytes: text as it is, anything else in base64.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Content {
    Text(String),
    Bytes { base64: String },
}

impl Content {
    fn len(&self) -> usize {
        match self {
            Content::Text(text) | Content::Bytes { base64: text } => text.len(),
        }
    }

    /// At most [`LARGEST`] bytes; says whether that was not all.
    fn of(bytes: &[u8]) -> (Content, bool) {
        let kept = bytes.get(..LARGEST).unwrap_or(bytes);
        let cut = kept.len() < bytes.len();
        match std::str::from_utf8(bytes) {
            Ok(text) => (Content::Text(text.get(..text.floor_char_boundary(LARGEST)).unwrap_or(text).to_owned()), cut),
            Err(_) => (Content::Bytes { base64: BASE64.encode(kept) }, cut),
        }
    }

    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Content::Text(text) => Some(text.clone().into_bytes()),
            Content::Bytes { base64 } => BASE64.decode(base64).ok(),
        }
    }
}

/// A record as it came, beside what became of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'r> {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<&'r [u8]>,
    pub(crate) value: Option<&'r [u8]>,
    pub(crate) headers: Option<&'r OwnedHeaders>,
}

/// What is wrong with a record.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) reason: String,
}

/// Where the letters of a mapping go.
pub(crate) struct Mailbox {
    topic: String,
    bucket: String,
    file: Arc<LetterFile>,
    /// The topic for letters, where there is one
    producer: Option<(FutureProducer, String)>,
}

impl Mailbox {
    pub(crate) fn new(topic: &str, bucket: &str, file: Arc<LetterFile>, producer: Option<(FutureProducer, String)>) -> Mailbox {
        Mailbox { topic: topic.to_owned(), bucket: bucket.to_owned(), file, producer }
    }

    /// Where the letters are, for people.
    pub(crate) fn place(&self) -> String {
        match &self.producer {
            Some((_, topic)) => format!("topic {topic}"),
            None => self.file.path().display().to_string(),
        }
    }

    /// The letter of a record.
    pub(crate) fn letter(&self, raw: &Raw<'_>, fault: &Fault, now: i64) -> Letter {
        let mut cut = false;
        let mut content = |bytes: Option<&[u8]>| {
            bytes.map(|bytes| {
                let (content, was_cut) = Content::of(bytes);
                cut |= was_cut;
                content
            })
        };
        let (key, value) = (content(raw.key), content(raw.value));
        let (mut headers, mut bytes) = (Vec::new(), 0);
        for header in raw.headers.into_iter().flat_map(Headers::iter) {
            bytes += header.key.len() + header.value.map_or(0, <[u8]>::len);
            if bytes <= LARGEST {
                headers.push((header.key.to_owned(), content(header.value)));
            }
        }
        Letter {
            topic: self.topic.clone(),
            bucket: self.bucket.clone(),
            partition: raw.partition,
            offset: raw.offset,
            timestamp: raw.timestamp,
            code: fault.code.to_owned(),
            reason: fault.reason.clone(),
            key,
            value,
            headers,
            cut: cut || bytes > LARGEST,
            at: moment(now),
        }
    }

    /// Keeps letters durably; blocks. What the topic for letters does not take goes to the file.
    pub(crate) fn keep(&self, letters: &[Letter]) -> io::Result<()> {
        let Some((producer, to)) = &self.producer else { return self.file.append(letters) };
        // Each is answered within the delivery timeout of the producer.
        let sent: Vec<_> = letters.iter().map(|letter| (letter, send(producer, to, letter))).collect();
        let mut rest = Vec::new();
        for (letter, delivery) in sent {
            let delivered = delivery.and_then(|delivery| {
                let mut delivery: BoxFuture<'_, _> = Box::pin(delivery);
                match Stop::default().wait::<Result<OwnedDeliveryResult, _>>(&mut delivery) {
                    Some(Ok(Ok(_))) => Ok(()),
                    Some(Ok(Err((error, _)))) => Err(error.to_string()),
                    Some(Err(_)) | None => Err("nothing was heard of it".to_owned()),
                }
            });
            if let Err(problem) = delivered {
                tracing::warn!(topic = to, letter.offset, problem, "the topic for dead letters does not take one; the file gets it");
                rest.push(letter.clone());
            }
        }
        if rest.is_empty() { Ok(()) } else { self.file.append(&rest) }
    }

    /// The file.
    pub(crate) fn file(&self) -> &LetterFile {
        &self.file
    }

    /// The topic for letters.
    pub(crate) fn topic(&self) -> Option<&str> {
        self.producer.as_ref().map(|(_, topic)| &**topic)
    }
}

fn send(producer: &FutureProducer, to: &str, letter: &Letter) -> Result<rdkafka::producer::DeliveryFuture, String> {
    if letter.cut {
        return Err("it is too large".to_owned());
    }
    let (partition, offset) = (letter.partition.to_string(), letter.offset.to_string());
    let mut headers = OwnedHeaders::new_with_capacity(6 + letter.headers.len());
    for (key, value) in &letter.headers {
        headers = headers.insert(Header { key, value: value.as_ref().and_then(Content::bytes).as_deref() });
    }
    for (key, value) in [
        ("tidegate-topic", &letter.topic),
        ("tidegate-bucket", &letter.bucket),
        ("tidegate-partition", &partition),
        ("tidegate-offset", &offset),
        ("tidegate-code", &letter.code),
        ("tidegate-reason", &letter.reason),
    ] {
        headers = headers.insert(Header { key, value: Some(value) });
    }
    let (key, value) = (letter.key.as_ref().and_then(Content::bytes), letter.value.as_ref().and_then(Content::bytes));
    let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(to).headers(headers);
    record.key = key.as_deref();
    record.payload = value.as_deref();
    producer.send_result(record).map_err(|(error, _)| error.to_string())
}

/// The file of a topic.
pub(crate) struct LetterFile {
    path: PathBuf,
    open: Mutex<Option<(File, u64)>>,
    largest: u64,
}

impl LetterFile {
    /// `data`: the data directory.
    pub(crate) fn new(data: &Path, topic: &str) -> LetterFile {
        LetterFile { path: data.join("ingest").join(format!("{topic}.dead.jsonl")), open: Mutex::default(), largest: FILE_BYTES }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn former(&self) -> PathBuf {
        self.path.with_extension("1.jsonl")
    }

    /// Appends and waits for the disk.
    fn append(&self, letters: &[Letter]) -> io::Result<()> {
        let mut lines = Vec::new();
        for letter in letters {
            serde_json::to_writer(&mut lines, letter)?;
            lines.push(b'\n');
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|(_, bytes)| *bytes + lines.len() as u64 > self.largest) {
            *open = None;
            fs::rename(&self.path, self.former())?;
        }
        let (mut file, bytes) = match open.take() {
            Some(open) => open,
            None => self.create()?,
        };
        // After an error it is opened anew, and a line that was cut off is ended.
        file.write_all(&lines)?;
        file.sync_data()?;
        *open = Some((file, bytes + lines.len() as u64));
        Ok(())
    }

    fn create(&self) -> io::Result<(File, u64)> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&self.path)?;
        let bytes = file.metadata()?.len();
        if bytes > 0 {
            file.write_all(b"\n")?;
        }
        Ok((file, bytes))
    }

    /// Shows every letter that can be read, the oldest first. Blocks.
    pub(crate) fn read(&self, mut show: impl FnMut(Letter)) -> io::Result<()> {
        for path in [self.former(), self.path.clone()] {
            let file = match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for line in BufReader::new(file).split(b'\n') {
                // A crash may have cut one off.
                if let Ok(letter) = serde_json::from_slice(&line?) {
                    show(letter);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mailbox(data: &Path, largest: u64) -> Mailbox {
        let file = LetterFile { largest, ..LetterFile::new(data, "orders") };
        Mailbox::new("orders", "Order", Arc::new(file), None)
    }

    fn raw<'r>(offset: i64, value: &'r [u8]) -> Raw<'r> {
        Raw { partition: 1, offset, timestamp: Some(7), key: Some(b"k"), value: Some(value), headers: None }
    }

    fn letters(mailbox: &Mailbox) -> Vec<Letter> {
        let mut letters = Vec::new();
        mailbox.file().read(|letter| letters.push(letter)).unwrap();
        letters
    }

    const FAULT: fn() -> Fault = || Fault { code: "record-syntax", reason: "no".into() };

    #[test]
    fn what_is_kept_is_read_again_whatever_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let mailbox = mailbox(dir.path(), 1 << 20);
        let large = "ä".repeat(LARGEST);
        let headers = OwnedHeaders::new().insert(Header { key: "h", value: Some(&b"\xff"[..]) });
        let texts = [&b"{oops"[..], b"\xff\xfe", large.as_bytes()];
        let kept: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(offset, text)| mailbox.letter(&Raw { headers: Some(&headers), ..raw(offset as i64, text) }, &FAULT(), 0))
            .collect();
        mailbox.keep(&kept).unwrap();
        assert_eq!(letters(&mailbox), kept);
        assert_eq!(kept[0].value.as_ref().unwrap().bytes().unwrap(), b"{oops");
        assert_eq!(kept[1].value.as_ref().unwrap().bytes().unwrap(), b"\xff\xfe");
        assert_eq!(kept[1].headers[0].1.as_ref().unwrap().bytes().unwrap(), b"\xff");
        assert_eq!(kept.iter().map(|letter| letter.cut).collect::<Vec<_>>(), [false, false, true]);
    }

    #[test]
    fn the_file_is_bounded_and_a_line_cut_off_harms_no_other() {
        let dir = tempfile::tempdir().unwrap();
        {
            let mailbox = mailbox(dir.path(), 2_000);
            for offset in 0..100 {
                mailbox.keep(&[mailbox.letter(&raw(offset, b"x"), &FAULT(), 0)]).unwrap();
            }
            let offsets: Vec<_> = letters(&mailbox).iter().map(|letter| letter.offset).collect();
            assert!(offsets.len() < 40 && offsets.len() > 5, "{offsets:?}");
            assert!(offsets.windows(2).all(|pair| pair[0] + 1 == pair[1]) && offsets.last() == Some(&99), "{offsets:?}");
            fs::OpenOptions::new().append(true).open(mailbox.file().path()).unwrap().write_all(br#"{"topic":"ord"#).unwrap();
        }
        let mailbox = mailbox(dir.path(), 1 << 20);
        let before = letters(&mailbox).len();
        mailbox.keep(&[mailbox.letter(&raw(100, b"x"), &FAULT(), 0)]).unwrap();
        assert_eq!(letters(&mailbox).len(), before + 1);
    }
}
