//! An SMTP server that takes mail.

use super::{Mail, MailError, SendError, Transport};
use crate::config::{MailOptions, MailSecurity};
use futures_util::future::BoxFuture;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use std::net::IpAddr;
use std::time::Duration;

/// For each step of the conversation.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server, and who mails are from.
pub(super) struct Smtp {
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Smtp {
    /// Nothing is connected yet: a server that is down now may be up for the first mail.
    pub(super) fn new(options: &MailOptions, from: Mailbox) -> Result<Smtp, MailError> {
        let tls = || -> Result<TlsParameters, MailError> {
            let mut tls = TlsParameters::builder(options.host.clone());
            if !options.ca_file.as_os_str().is_empty() {
                let unreadable =
                    |reason: String| MailError::Option { option: "ca_file", reason: format!("{}: {reason}", options.ca_file.display()) };
                let pem = std::fs::read(&options.ca_file).map_err(|error| unreadable(error.to_string()))?;
                tls = tls.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| unreadable(error.to_string()))?);
            }
            tls.build().map_err(|error| MailError::Option { option: "security", reason: error.to_string() })
        };
        let security = match options.security {
            MailSecurity::Tls => Tls::Wrapper(tls()?),
            MailSecurity::Starttls => Tls::Required(tls()?),
            MailSecurity::None => Tls::None,
        };
        let mut server =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&options.host).port(options.port).timeout(Some(PATIENCE)).tls(security);
        if !options.username.is_empty() {
            let place = options.password.as_ref().ok_or_else(|| MailError::Option {
                option: "password",
                reason: "a user name needs one, as \"file:PATH\" or \"env:NAME\"".into(),
            })?;
            if options.security == MailSecurity::None && !is_loopback(&options.host) {
                let reason = "a password is sent over TLS only, or on loopback; choose \"starttls\" or \"tls\"".into();
                return Err(MailError::Option { option: "security", reason });
            }
            server = server.credentials(Credentials::new(options.username.clone(), place.read()?));
        }
        Ok(Smtp { server: server.build(), from })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Transport for Smtp {
    fn send(&self, mail: &Mail) -> BoxFuture<'_, Result<(), SendError>> {
        let built = mail.build(&self.from);
        Box::pin(async move {
            match self.server.send(built?).await {
                Ok(_) => Ok(()),
                // Only what the server says of this mail for good; a wrong password is repaired by a person meanwhile.
                Err(error)
                    if error.is_permanent() && error.status().is_some_and(|code| ![530, 534, 535, 538].contains(&u16::from(code))) =>
                {
                    Err(SendError::Never(error.to_string()))
                }
                Err(error) => Err(SendError::Later(error.to_string())),
            }
        })
    }
}
