//! Mail: how it goes out, and what is sent.

use super::secret::{self, SecretPlace};
use serde::Deserialize;
use std::path::PathBuf;

/// How mail goes out, and what is sent.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailOptions {
    /// Who takes it
    pub transport: MailTransport,
    /// Folder of the file transport; empty: `mail` in the data directory
    pub directory: PathBuf,
    /// The SMTP server
    pub host: String,
    /// Its port
    pub port: u16,
    /// How it is talked to
    pub security: MailSecurity,
    /// Certificate of an authority that it is believed by, PEM, beside those of the machine; empty: none
    pub ca_file: PathBuf,
    /// User name at the server; empty: nobody logs in
    pub username: String,
    /// Its password
    #[serde(deserialize_with = "secret::optional")]
    pub password: Option<SecretPlace>,
    /// Who mails are from
    pub from: String,
    /// Mails that may wait
    pub queue: usize,
    /// How often one is tried
    pub attempts: u32,
    /// Whether somebody who registers must open a link first
    pub verification: bool,
    /// How long the link of a verification lasts, seconds
    pub verify_seconds: u64,
    /// How long the link of a password reset lasts, seconds
    pub reset_seconds: u64,
    /// The app's own page for a new password; empty: the server's
    pub reset_url: String,
    /// Links of one kind that one user may be sent in an hour
    pub links_per_hour: u32,
}

/// Who takes mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailTransport {
    /// Nobody: what needs mail is not enabled
    None,
    /// A folder, one file a mail: for development
    File,
    /// An SMTP server
    Smtp,
}

/// How an SMTP server is talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailSecurity {
    /// TLS before the first word, mostly port 465
    Tls,
    /// TLS after the first words, or nothing is sent; mostly port 587
    Starttls,
    /// In the open
    None,
}
